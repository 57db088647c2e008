"""`python -m tests.crashes`: does every damage of the crash table and prints what came of it."""

import argparse
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.crashes.cases import CASES
from tests.crashes.scene import Finding, Scene

HEADINGS = (
    "case",
    "what was killed or broken, when",
    "finished runs computed again",
    "epochs computed twice",
    "scores as undisturbed",
    "ok",
)


def main() -> int:
    """Run the cases; 1 where one is not ok."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--only", metavar="CASE", action="append", choices=CASES, default=[])
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the findings there too")
    parser.add_argument(
        "--outage", metavar="S", type=float, default=0.0, help="least seconds of store-stopped"
    )
    parser.add_argument("--show", action="store_true", help="print what the commands printed")
    options = parser.parse_args()
    # Raises SystemExit, so that the present case ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A file or a log has no width.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    findings, seconds = [], []
    with tempfile.TemporaryDirectory(prefix="mlt-ray-crashes-") as folder:
        with console.status("an undisturbed study"):
            scene = dataclasses.replace(Scene.set(Path(folder)), outage_s=options.outage)
        for name in options.only or CASES:
            began = time.monotonic()
            with console.status(name):
                findings.append(run_case(name, scene))
            seconds.append(round(time.monotonic() - began, 1))
            verdict = "ok" if findings[-1].ok else "NOT OK"
            console.print(f"{name}: {verdict}, {seconds[-1]:.0f} s", highlight=False)
            for line in filter(None, (*findings[-1].complaints, findings[-1].skipped)):
                console.print(f"  {line}", highlight=False, markup=False)
            if options.show:
                console.print(findings[-1].shown, highlight=False, markup=False)
    console.print(table(findings))
    if options.json:
        rows = [
            {**dataclasses.asdict(finding), "ok": finding.ok, "seconds": time_s}
            for finding, time_s in zip(findings, seconds, strict=True)
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(finding.ok or finding.skipped for finding in findings) else 1


def run_case(name: str, scene: Scene) -> Finding:
    """Run a case. A command that fails or hangs becomes a complaint, and the next case runs."""
    try:
        return CASES[name](scene)
    except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
        return Finding(case=name, damage="", complaints=[str(error)])


def table(findings: list[Finding]) -> Table:
    """A table with one line per case."""
    shown = Table(title="Crashes", box=None, padding=(0, 1))
    for heading in HEADINGS:
        shown.add_column(heading)
    for finding in findings:
        if finding.skipped:
            shown.add_row(finding.case, f"skipped: {finding.skipped}", "", "", "", "–")
            continue
        shown.add_row(
            finding.case,
            finding.damage,
            str(finding.recomputed),
            str(finding.repeated),
            "yes" if finding.equal else "NO",
            "ok" if finding.ok else "NOT OK",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
