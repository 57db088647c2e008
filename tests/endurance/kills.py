"""Disturbs studies at random moments, again and again, and compares what comes of it."""

import contextlib
import dataclasses
import json
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from mlt_ray.storage.store import Store
from tests.crashes.journal import Journal, journal
from tests.crashes.scene import EPOCHS, Finding, Scene, kill_session, start_mlt_ray
from tests.crashes.stores import tables
from tests.endurance.damages import DAMAGES, FAILED, Target
from tests.endurance.remains import Machine, unknown_remains
from tests.endurance.settings import SETTINGS, Setting, choose

BLOWS = 6
"""Damages in one store, before it is left alone, unless it is asked for others."""

PHASES = ("starting", "training", "ending")
"""What a command does: until its first epoch; then; when all runs are finished."""

COMMAND_S = 600.0
"""Most seconds that a command may take."""

FORCE_S = 60.0
"""Seconds after which a command that must have ended is killed, and counts as not ok."""

BUSY = 2
"""Exit code where Ray did not start in time."""

TRIES = 4
"""How often the same command is given at most, until it has computed all that is left."""


@dataclass(kw_only=True)
class Blow:
    """One damage: in which setting, when, and how its command ended.

    `phase`: what the command did then. `code`: its exit code, None where it went on until another
    damage. `forced`: it did not end as it should, and was killed. `end_s`: seconds from the damage
    to the command's end, and `orphans_s` from there to the end of all that it had started.
    """

    damage: str
    setting: str
    trial: int
    phase: str
    code: int | None = None
    forced: bool = False
    end_s: float = 0.0
    orphans_s: float = 0.0
    ok: bool = True

    @property
    def outcome(self) -> str:
        """How the command ended by it, if it did."""
        if self.forced:
            return "hung"
        return "went on" if self.code is None else f"exit {self.code}"


@dataclass(kw_only=True)
class Tally:
    """All blows and trials so far, and complaints of trials that are not ok."""

    blows: list[Blow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    start_s: float = 20.0
    """Seconds until a command trained, as measured last."""

    @property
    def kills(self) -> int:
        """How many of the blows killed or interrupted a process."""
        return sum(DAMAGES[blow.damage].kills for blow in self.blows)


class Trial:
    """One store that is disturbed a few times and then finished."""

    def __init__(
        self, number: int, name: str, scene: Scene, tally: Tally, seed: int, most: int = BLOWS
    ) -> None:
        self.number, self.name, self.scene, self.tally, self.most = number, name, scene, tally, most
        self.rng = random.Random(f"{seed} {number}")
        self.finding = Finding(case=f"{number} {name}", damage="")
        self.blows: list[Blow] = []
        self._runs = 0
        self._commands = 0
        self._machines: list[tuple[Machine, Blow | None]] = []

    def run(self) -> Finding:
        """Disturb, finish and judge it."""
        enter, _ = SETTINGS[self.name]
        began = time.monotonic()
        with enter(self.scene, f"t{self.number}") as setting:
            self._runs = setting.runs
            setting.root.mkdir(parents=True, exist_ok=True)
            with journal(setting.root) as kept:
                for _ in range(self.most):
                    if len(self.blows) < self.most:
                        self._disturbed(setting, kept)
                self._finish(setting)
            self._judge(setting, kept)
        done = ", ".join(f"{b.damage} ({b.phase}: {b.outcome})" for b in self.blows)
        self.finding.damage = done
        for blow in self.blows:
            blow.ok = self.finding.ok
        self.tally.blows += self.blows
        self.tally.findings.append(self.finding)
        verdict = "ok" if self.finding.ok else "NOT OK"
        print(
            f"{self.finding.case}: {verdict}, {time.monotonic() - began:.0f} s; {done}; "
            f"{self.finding.repeated} epochs twice; {self.tally.kills} kills so far",
            *self.finding.complaints,
            sep="\n  ",
            flush=True,
        )
        return self.finding

    @contextlib.contextmanager
    def _started(self, setting: Setting) -> Iterator[list[Target]]:
        """Give the command, as often as the setting has drivers."""
        self._commands += 1
        targets: list[Target] = []
        try:
            for number in range(setting.drivers):
                folder = self.scene.folder / f"{self.number}.{self._commands}.{number}"
                machine = Machine(folder)
                with machine.entered(**setting.environment):
                    process = start_mlt_ray(*setting.arguments)
                targets.append(
                    Target(
                        process=process,
                        machine=machine,
                        root=setting.root,
                        stop=setting.stop,
                        start=setting.start,
                        disk=setting.disk,
                    )
                )
            yield targets
        finally:
            for target in targets:
                if target.process.poll() is None:
                    kill_session(target.process)

    def _disturbed(self, setting: Setting, kept: Journal) -> None:
        """Give the command and damage it until it ends, or until all blows are dealt."""
        with self._started(setting) as targets:
            hit: dict[int, list[Blow]] = {n: [] for n in range(len(targets))}
            began = time.monotonic()
            while len(self.blows) < self.most:
                phase = self._moment(kept, targets, began)
                alive = [n for n, t in enumerate(targets) if t.process.poll() is None]
                if not alive:
                    break
                n = self.rng.choice(alive)
                blow = self._strike(targets[n], phase)
                if blow is None:
                    continue
                self.blows.append(blow)
                hit[n].append(blow)
            for n, target in enumerate(targets):
                self._end(target, hit[n])

    def _moment(self, kept: Journal, targets: list[Target], began: float) -> str:
        """Wait for a random moment; returns what the command does then."""
        rng, before = self.rng, sum(kept.computed.values())

        def is_over() -> bool:
            return all(t.process.poll() is not None for t in targets)

        phase = rng.choices(PHASES, (3, 6, 1))[0]
        wait_s = rng.uniform(0, self.tally.start_s) if phase == "starting" else COMMAND_S
        epochs = before + rng.randint(1, self._runs * EPOCHS // 3)
        until = time.monotonic() + wait_s
        while not is_over() and time.monotonic() < until:
            computed = sum(kept.computed.values())
            if len(kept.finished) >= self._runs:
                time.sleep(rng.uniform(0, self.tally.start_s / 2))
                return "ending"
            if phase == "starting" and computed > before:
                return "training"
            if phase == "training" and computed >= epochs:
                self.tally.start_s = min(120.0, time.monotonic() - began)
                break
            time.sleep(0.02)
        return phase

    def _strike(self, target: Target, phase: str) -> Blow | None:
        """Do a random damage of those that have something to damage; None if there is none."""
        left = dict(DAMAGES)
        while left:
            weights = [damage.weight for damage in left.values()]
            name = self.rng.choices(list(left), weights)[0]
            if left.pop(name).do(target, self.rng):
                return Blow(damage=name, setting=self.name, trial=self.number, phase=phase)
        return None

    def _end(self, target: Target, blows: list[Blow]) -> None:
        """Wait for the end of a command, and judge its exit code and its words."""
        began = time.monotonic()
        must_end = bool(blows) and DAMAGES[blows[-1].damage].ends
        forced = False
        try:
            shown, errors = target.process.communicate(timeout=FORCE_S if must_end else COMMAND_S)
        except subprocess.TimeoutExpired:
            forced = True
            kill_session(target.process)
            shown, errors = target.process.communicate()
        code = target.process.returncode
        allowed = {0}.union(*(DAMAGES[blow.damage].codes for blow in blows))
        what = " and ".join(blow.damage for blow in blows) or "undisturbed"
        if forced:
            self.finding.expect(False, f"{what}: had to be killed: {shown[-500:]}{errors[-1500:]}")
        else:
            said = f"exit {code}: {shown[-300:]}{errors[-2500:]}"
            is_busy = code == BUSY and "expected Ray to start here" in errors
            self.finding.expect(code in allowed or is_busy, f"{what}: {said}")
            self.finding.expect("Traceback" not in errors, f"{what}: a traceback: {errors[-3000:]}")
        if blows:  # after the others the command went on
            last = blows[-1]
            last.code, last.forced, last.end_s = code, forced, time.monotonic() - began
        if code == 0:
            left = target.machine.files()
            self.finding.expect(not left, f"{what}: temporary files are left: {left}")
        self._machines.append((target.machine, blows[-1] if blows else None))
        if self.rng.random() < 0.5:  # else the next command meets what is still ending
            self._wait_for_processes()

    def _wait_for_processes(self) -> None:
        for machine, blow in self._machines:
            seconds, left = machine.wait_for_end()
            self.finding.expect(not left, f"processes that did not end: {left}")
            if blow:
                blow.orphans_s = max(blow.orphans_s, seconds)
            shutil.rmtree(machine.folder, ignore_errors=True)
        self._machines.clear()

    def _finish(self, setting: Setting) -> None:
        """Give the same command until it has computed what is left; the first time must do."""
        for number in range(TRIES):
            with self._started(setting) as targets:
                for target in targets:
                    self._end(target, [])
                codes = [target.process.returncode for target in targets]
            self._wait_for_processes()
            if codes == [0] * len(codes):
                return
            # A machine that is too busy for Ray to start says so, and is asked again.
            self.finding.expect(set(codes) <= {0, FAILED, BUSY}, f"asked again ({number}): {codes}")

    def _judge(self, setting: Setting, kept: Journal) -> None:
        finding, root = self.finding, setting.root
        finding.judge(kept, root, setting.undisturbed, runs=setting.runs)
        wanted = tables(setting.undisturbed)
        finding.expect(tables(root) == wanted, "the tables differ from the undisturbed ones")
        setting.check(finding)
        left = unknown_remains(Store(setting.store))
        finding.expect(not left, f"files that nobody would remove: {left}")
        if finding.ok:
            shutil.rmtree(root, ignore_errors=True)


def kill_until(
    number: int,
    seed: int,
    scene: Scene,
    only: Sequence[str] = (),
    path: Path | None = None,
    most: int = BLOWS,
) -> Tally:
    """Deal so many kills; returns what came of them, which is written to `path` after each store.

    `only`: settings to choose from. `most`: damages in one store. Prints a line for each store.
    """
    tally, trial, rng = Tally(), 0, random.Random(seed)
    while tally.kills < number:
        trial += 1
        name = rng.choice(only) if only else choose(rng)
        one = Trial(trial, name, scene, tally, seed, most)
        try:
            one.run()
        except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
            one.finding.complaints.append(str(error))
            tally.findings.append(one.finding)
            print(f"{one.finding.case}: NOT OK\n  {error}", flush=True)
        if path:
            rows = [dataclasses.asdict(blow) for blow in tally.blows]
            path.write_text(json.dumps(rows, indent=1) + "\n")
    return tally


def table(tally: Tally) -> Table:
    """A table with one line per damage."""
    shown = Table(title="Damages", box=None, padding=(0, 1))
    for heading in ("damage", "times", "the command", "most s to its end", "and to Ray's", "ok"):
        shown.add_column(
            heading, justify="left" if heading in ("damage", "the command") else "right"
        )
    for name in DAMAGES:
        blows = [blow for blow in tally.blows if blow.damage == name]
        if not blows:
            continue
        codes = Counter(blow.outcome for blow in blows)
        shown.add_row(
            name,
            str(len(blows)),
            ", ".join(f"{n} × {what}" for what, n in sorted(codes.items())),
            f"{max(blow.end_s for blow in blows):.0f}" if DAMAGES[name].ends else "",
            f"{max(blow.orphans_s for blow in blows):.1f}",
            f"{sum(blow.ok for blow in blows)}/{len(blows)}",
        )
    return shown
