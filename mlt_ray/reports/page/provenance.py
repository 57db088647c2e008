"""Where a study's scores come from: commands, versions, cost, what is missing, what differs."""

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mlt_ray.reports.page.cells import duration
from mlt_ray.reports.page.content import StudyContent
from mlt_ray.reports.statistics import counted_runs
from mlt_ray.spec import decisive, digest_of
from mlt_ray.storage.record import RowRecord
from mlt_ray.storage.report import RunReport
from mlt_ray.studies.files import space_names, study_names

PAPER_SYSTEMS: Final = ("multilevel", "multigranularity", "bert", "yoon", "xu", "li")

FROM_PAPER: Final = (
    "A fold is a session: the only split of IEMOCAP into five parts without a speaker in two of "
    "them (assumed).",
    "Words have 50-d GloVe vectors from a package unless --glove names others.",
    "Layer norm in the pre-net, where the paper's source has batch norm: an utterance must not "
    "depend on its neighbours.",
    "Compared systems are built from their papers and public code, on the folds, selection and "
    "metrics here.",
    "The paper does not say what its ± is; it is taken as the deviation over repeats.",
)
"""How rows differ from those of the paper (He et al.), wherever published scores stand."""


def is_of_paper(content: StudyContent) -> bool:
    """Whether published scores stand beside a system of He et al.'s tables."""
    return any(
        row.published and row.spec.get("model", {}).get("system") in PAPER_SYSTEMS
        for row in content.record.rows
    )


def costs(content: StudyContent) -> list[dict[str, Any]]:
    """The lines of the table of costs; the last one counts a run of several rows once."""
    lines = [
        {
            "name": found.row.name,
            "cells": [
                f"{round(found.runs['num_parameters'].mean()):,}",
                *_times(found.reports),
            ],
            "device": _devices(found.reports),
        }
        for found in content.rows
    ]
    if len(lines) > 1:
        once = {report.digest: report for found in content.rows for report in found.reports}
        reports = list(once.values())
        cells = ["", *_times(reports)]
        lines.append({"name": "altogether", "cells": cells, "device": _devices(reports)})
    return lines


def _times(reports: Sequence[RunReport]) -> list[str]:
    total_s = sum(report.computed_s for report in reports)
    return [str(len(reports)), duration(total_s / len(reports)), duration(total_s)]


def _devices(reports: Sequence[RunReport]) -> str:
    found = dict.fromkeys(report.environment.get("device", "") for report in reports)
    return ", ".join(filter(None, found))


def missing_runs(content: StudyContent) -> Iterator[str]:
    """Runs that are planned and not finished, row by row."""
    done = {report.digest for found in content.rows for report in found.reports}
    for row in content.record.rows:
        counted = counted_runs(row, done)
        left = [str(run) for run in counted if run.digest not in done]
        if left and len(left) == len(counted):
            yield f"{row.name}: none of {len(left)} runs"
        elif left:
            yield f"{row.name}: {'; '.join(left)}"


def commands(content: StudyContent) -> list[str]:
    """Commands that compute a study again, with what the call had changed in all its rows."""
    record = content.record
    changes = [row.changes for row in record.rows]
    common = [c for c in (changes[0] if changes else ()) if all(c in own for own in changes)]
    options = [_option(change) for change in common]
    verb, known = ("search", space_names()) if content.search else ("run", study_names())
    if verb == "run":
        runs = [run for row in record.rows for run in row.runs]
        seeds, folds = ({getattr(run, key) for run in runs} for key in ("seed", "fold"))
        options.append(f"--seeds {','.join(map(str, sorted(seeds)))}")
        whole = max((row.spec["folds"].get("num_folds", 5) for row in record.rows), default=0)
        if len(folds) < whole:
            options.append(f"--folds {','.join(map(str, sorted(folds)))}")
    name = record.study if record.study in known else f"{record.study}.yaml"
    again = " ".join([f"mlt-ray {verb} {shlex.quote(name)} --corpus CORPUS", *options])
    lines = [f"{again}    # {record.corpus}, all of it: {record.fingerprint}"]
    if any(set(own) != set(common) for own in changes):
        lines.append("# some rows with changes of their own, which stand below")
    return [*lines, f"mlt-ray report {shlex.quote(record.study)}"]


def _option(change: str) -> str:
    """A change of a call, such as ``--encoder minilm`` or ``model.width=64``, as an option."""
    if change.startswith("--"):
        option, _, value = change.partition(" ")
        return f"{option} {shlex.quote(value)}" if value else option
    return f"--set {shlex.quote(change)}"


def versions(content: StudyContent) -> str:
    """With which versions of mlt_ray and Python the runs were computed, and when."""
    reports = [report for found in content.rows for report in found.reports]
    if not reports:
        return ""
    parts = []
    for name in ("mlt_ray", "python"):
        found = dict.fromkeys(report.environment.get(name, "") for report in reports)
        parts.append(f"{name} {', '.join(filter(None, found))}")
    days = sorted({datetime.fromtimestamp(r.ended_ms / 1000, UTC).date() for r in reports})
    parts.append(str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}")
    return ", ".join(parts)


def digest(row: RowRecord) -> dict[str, str]:
    """What identifies a row's settings, and the versions of the libraries that decide numbers."""
    libraries = {**row.spec.get("features", {}), **row.spec.get("training", {})}
    return {
        "name": row.name,
        "digest": digest_of(decisive(row.spec)),
        "changed": ", ".join(row.changes),
        "libraries": libraries.get("libraries", ""),
    }
