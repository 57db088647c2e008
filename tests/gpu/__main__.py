"""GPU checks of the package as a kit: inputs in a folder, findings in a JSON file.

    python -m tests.gpu prepare FOLDER
    python -m tests.gpu run FOLDER --json FILE

`run` ends with 0 where every check holds, with 1 where one does not, and with 2 and one line where
it cannot begin.
"""

import argparse
import dataclasses
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mlt_ray.errors import UserError
from tests.gpu.findings import Findings
from tests.gpu.inputs import UTTERANCES, load, prepare
from tests.gpu.stages import STAGES, Document, Job, Stage, run_stages

DEADLINE_S = 480.0


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu", description=__doc__.partition("\n")[0]
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("prepare", help="write the inputs")
    one.add_argument("folder", type=Path)
    one.add_argument("--utterances", type=int, default=UTTERANCES)
    two = verbs.add_parser("run", help="check and measure")
    two.add_argument("folder", type=Path)
    two.add_argument("--json", type=Path, required=True, help="file for the findings")
    two.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    two.add_argument("--quick", action="store_true", help="few steps, to try the kit itself")
    two.add_argument("--stages", help=f"some of {','.join(s.name for s in STAGES)}")
    two.add_argument("--deadline", type=float, default=DEADLINE_S, help="seconds for all stages")
    two.add_argument(
        "--patience", type=float, default=1.0, help="times the limit of each stage: a busy machine"
    )
    # The command that `run` starts; users do not need it.
    three = verbs.add_parser("stage")
    three.add_argument("function")
    three.add_argument("folder", type=Path)
    three.add_argument("--room", type=Path, required=True)
    three.add_argument("--device", required=True)
    three.add_argument("--to", type=int, required=True)
    three.add_argument("--done", type=json.loads, default=[])
    three.add_argument("--quick", action="store_true")
    return parser.parse_args(given)


def chosen(names: str | None) -> list[Stage]:
    """The stages with these names, in the kit's order; all stages for None."""
    if names is None:
        return list(STAGES)
    asked = names.split(",")
    known = [stage.name for stage in STAGES]
    for name in asked:
        if name not in known:
            raise UserError(f"--stages: expected some of {', '.join(known)}, got {name}")
    return [stage for stage in STAGES if stage.name in asked]


def run(options: argparse.Namespace) -> int:
    """Run the stages that were asked for."""
    import torch

    began = time.monotonic()
    stages = [
        dataclasses.replace(stage, limit_s=options.patience * stage.limit_s)
        for stage in chosen(options.stages)
    ]
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device: expected a GPU for cuda, found none; --device cpu --quick tries the kit"
        )
    with tempfile.TemporaryDirectory(prefix="mlt-ray-gpu-") as room:
        load(options.folder, room=Path(room))
        job = Job(
            folder=options.folder, room=Path(room), device=options.device, quick=options.quick
        )
        left_s = options.deadline - (time.monotonic() - began)
        document = run_stages(stages, job, options.json, left_s)
    return told(document, options.json)


def told(document: Document, path: Path) -> int:
    """Print how many checks held and failed; returns the exit code of `run`."""
    summary, whole = document.values["summary"], document.values["whole"]
    for way, hours in whole["hours_if_all_were"].items():
        print(f"{whole['runs']} runs of {whole['epochs']} epochs as {way}: {hours:.2f} h")
    if "hours_of_rows_measured" in whole:
        print(f"{whole['rows_measured']} rows of the tables: {whole['hours_of_rows_measured']} h")
    print(
        f"{summary['checks']} checks, {len(summary['failed'])} failed, in {summary['seconds']} s; "
        f"{path}"
    )
    for name in summary["failed"]:
        print(f"failed: {name}")
    return 1 if document.failed else 0


def run_stage(options: argparse.Namespace) -> int:
    """Compute one stage and write its findings to the given file descriptor."""
    import torch

    from tests.gpu.setting import Setting

    device = torch.device(options.device)
    torch.set_num_threads(1 if device.type == "cpu" else min(4, os.cpu_count() or 1))
    module, _, name = options.function.partition(":")
    setting = Setting(options.folder, options.room, device, options.quick)
    with os.fdopen(options.to, "w") as out:
        findings = Findings(out, options.done)
        getattr(importlib.import_module(module), name)(setting, findings)
    return 0


def main(given: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    options = arguments(given)
    try:
        if options.verb == "prepare":
            prepare(options.folder, options.utterances)
            return 0
        return run(options) if options.verb == "run" else run_stage(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
