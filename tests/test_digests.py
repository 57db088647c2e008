"""Every row that is shipped keeps its digest: what was computed is never computed again.

`digests.json` holds them, for a corpus of a fixed fingerprint. They may change with the numbers
alone: who changes what a run computes raises `RunSpec.recipe`, then writes the file again by
``python -m tests.test_digests``.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from mlt_ray.spec import Run, RunSpec
from mlt_ray.studies.files import space_names, study_names
from mlt_ray.studies.space import load_space
from mlt_ray.studies.study import Row, load_study

FILE = Path(__file__).parent / "digests.json"
FINGERPRINT = "0123456789abcdef"
FOLD, SEED = 2, 3


def shipped_rows() -> Iterator[tuple[str, Row]]:
    """Rows of the shipped studies, and the first configuration of every search space."""
    for name in study_names():
        for row in load_study(name).rows:
            yield f"{name}: {row.name}", row
    for name in space_names():
        space = load_space(name)
        yield f"{name}: first", space.row({p.key: p.values[0] for p in space.parameters})


def digests() -> dict[str, str]:
    """The digest of one run of every shipped row, as it stands in its file."""
    found = {}
    for name, row in shipped_rows():
        spec = RunSpec(
            corpus=FINGERPRINT,
            folds=row.folds,
            features=row.features,
            model=row.model,
            training=row.training,
        )
        found[name] = Run(spec=spec, fold=FOLD, seed=SEED).digest
    return found


def test_no_shipped_row_has_changed_its_digest() -> None:
    assert digests() == json.loads(FILE.read_text())


if __name__ == "__main__":
    FILE.write_text(json.dumps(digests(), indent=1) + "\n")
