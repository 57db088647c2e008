"""Named protocols: the values of ``folds`` that a name stands for."""

from collections.abc import Mapping
from typing import Any, Final

from mlt_ray.parsing import unknown_key

PROTOCOLS: Final[Mapping[str, Mapping[str, Any]]] = {
    "paper": {"by": "session", "number": 5, "dev": "next"},
    "loso": {"by": "speaker", "number": "each", "dev": "next"},
    "superb": {"by": "session", "number": "each", "dev": 0.2},
    "emobox": {"by": "given", "dev": 0.2},
}
"""``paper``: He et al., section 4.1. ``loso``: one speaker is left out. ``superb``: emotion
recognition of SUPERB (Yang et al. 2021), one session is left out. ``emobox``: the folds that come
with a corpus of EmoBox (Ma et al. 2024)."""


def parse_protocol(name: Any, where: str) -> Mapping[str, Any]:
    """The values of ``folds`` for a name; `UserError`, which begins with `where`."""
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise unknown_key(where, name, PROTOCOLS, "protocol")
    return PROTOCOLS[name]
