"""`python -m tests.endurance`: kills commands at random, or lets them run long."""

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.crashes.scene import Scene
from tests.endurance.growth import PROGRAMS, Bench
from tests.endurance.growth import table as growth_table
from tests.endurance.kills import kill_until, table
from tests.endurance.settings import SETTINGS
from tests.endurance.verbs import VERBS, Place, leave_all
from tests.endurance.verbs import table as verbs_table


def main() -> int:
    """Run a part; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parts = parser.add_subparsers(required=True, metavar="PART")
    kills = parts.add_parser("kills", help="kill commands at random moments and ask again")
    kills.add_argument("--number", type=int, default=100, help="least number of kills")
    kills.add_argument("--seed", type=int, default=1)
    kills.add_argument("--only", metavar="SETTING", action="append", choices=SETTINGS, default=[])
    kills.add_argument("--json", metavar="FILE", type=Path, help="write the blows there too")
    kills.set_defaults(part=run_kills)
    runs = parts.add_parser("runs", help="many runs in one process tree; does it grow?")
    runs.add_argument("--number", type=int, default=500, help="number of runs of each program")
    runs.add_argument("--only", metavar="PROGRAM", action="append", choices=PROGRAMS, default=[])
    runs.add_argument("--json", metavar="FILE", type=Path, help="write the samples there too")
    runs.set_defaults(part=run_runs)
    leftovers = parts.add_parser("remains", help="what each verb leaves, however it ends")
    leftovers.add_argument("--seed", type=int, default=1)
    leftovers.add_argument("--only", metavar="VERB", action="append", choices=VERBS, default=[])
    leftovers.add_argument("--asr", metavar="FOLDER", type=Path, help="a recogniser of speech")
    leftovers.set_defaults(part=run_remains)
    options = parser.parse_args()
    # Raises SystemExit, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return int(options.part(options))


def run_kills(options: argparse.Namespace) -> int:
    """The loop of random kills."""
    # A short name: Ray's sockets are inside, and their paths may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        scene = Scene.set(Path(folder))
        tally = kill_until(options.number, options.seed, scene, options.only)
    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(table(tally))
    bad = [finding.case for finding in tally.findings if not finding.ok]
    console.print(
        f"{len(tally.blows)} damages, {tally.kills} of them kills, in {len(tally.findings)} "
        f"stores; {sum(f.recomputed for f in tally.findings)} finished runs computed again, "
        f"{sum(f.repeated for f in tally.findings)} epochs computed twice; not ok: {bad or 'none'}"
    )
    if options.json:
        rows = [dataclasses.asdict(blow) for blow in tally.blows]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if bad else 0


def run_runs(options: argparse.Namespace) -> int:
    """Many short runs in one process tree."""
    console = Console() if sys.stdout.isatty() else Console(width=150)
    found = []
    with tempfile.TemporaryDirectory(prefix="runs-") as folder, console.status("") as status:
        bench = Bench.set(Path(folder))
        for name in options.only or PROGRAMS:
            found.append(PROGRAMS[name](bench, options.number, status.update))
            for line in found[-1].complaints:
                console.print(line, highlight=False, markup=False)
    console.print(growth_table(found))
    if options.json:
        rows = [dataclasses.asdict(growth) for growth in found]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(growth.complaints for growth in found) else 0


def run_remains(options: argparse.Namespace) -> int:
    """What each verb leaves."""
    console = Console() if sys.stdout.isatty() else Console(width=150)
    with tempfile.TemporaryDirectory(prefix="ends-") as folder:
        scene = Scene.set(Path(folder) / "s")
        place = Place(scene=scene, folder=Path(folder), asr=options.asr)
        verbs = options.only or [v for v in VERBS if options.asr or v != "predict --asr"]
        found = leave_all(place, verbs, options.seed, lambda line: print(line, flush=True))
    console.print(verbs_table(found))
    return 0 if all(left.ok for left in found) else 1


if __name__ == "__main__":
    sys.exit(main())
