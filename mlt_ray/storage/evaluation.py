"""What a finished run says of the utterances of another corpus, kept in the store.

It is a file of its own, ``evaluations/<digest>.json``, apart from the run's own test predictions.
The digest is that of the run, the utterances and the versions of what computes their features, so
what was computed once is found again, whichever row it is asked for with.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mlt_ray.errors import UserError
from mlt_ray.parsing import parse_json
from mlt_ray.spec import digest_of
from mlt_ray.storage.format import with_format, without_format
from mlt_ray.storage.store import Store

DIGITS: Final = 6
"""Digits behind the point of a probability, as ``predictions.csv`` of a run has them."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an evaluation is asked of: a run, and the utterances of a corpus.

    `fingerprint` is that of the utterances that count, whose ids are `utterances`. `classes` are
    those of the run, in its order. `libraries` compute the features, with versions.
    """

    run: str
    corpus: str
    fingerprint: str
    libraries: str
    classes: tuple[str, ...]
    utterances: tuple[str, ...]

    @property
    def digest(self) -> str:
        """16 hex digits that name the evaluation's file; the corpus's name decides nothing."""
        return digest_of([self.run, self.fingerprint, self.libraries])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **vars(self),
            "classes": list(self.classes),
            "utterances": list(self.utterances),
        }


def read_evaluation(store: Store, asked: Asked) -> np.ndarray | None:
    """The probabilities, (N, K) float64 for N utterances and K classes; None if there are none.

    Raises `UserError` if the file holds something else.
    """
    path = store.evaluation(asked.digest)
    try:
        if not store.keep(path):
            return None
        values = without_format(parse_json(path.read_text("utf-8")), path)
        for name, expected in asked.as_dict().items():
            if name != "corpus" and values[name] != expected:
                raise ValueError(f"other {name}")
        found = np.array(values["probabilities"], dtype=np.float64)
        if found.shape != (len(asked.utterances), len(asked.classes)):
            raise ValueError(f"probabilities of shape {found.shape}")
        if not ((found >= 0) & (found <= 1)).all():
            raise ValueError("probabilities beyond 0–1")
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise UserError(
            f"{path}: expected what run {asked.run} says of corpus {asked.corpus}, got {error!r}; "
            "delete the file to compute it again"
        ) from error
    return found


def write_evaluation(store: Store, asked: Asked, probabilities: np.ndarray) -> np.ndarray:
    """Write (N, K) probabilities; returns them as they will be read, rounded to `DIGITS`."""
    rounded = np.round(np.asarray(probabilities, np.float64), DIGITS)
    values = with_format({**asked.as_dict(), "probabilities": rounded.tolist()})
    store.write(store.evaluation(asked.digest), (json.dumps(values) + "\n").encode())
    return rounded
