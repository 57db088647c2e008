"""Recordings that lie beside those that a corpus names, and that it does not name."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SOUND: Final = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")
"""Endings of recordings, in lower case."""


def unlisted(root: Path, named: Iterable[Path], folders: Iterable[Path] = ()) -> tuple[str, ...]:
    """Recordings that have the name of no `named` one, as paths below `root`, sorted.

    They are looked for in the folders of the named ones that are below `root`, and in `folders`.
    Endings and case do not count: ``a.WAV`` and ``a.flac`` have the name of ``a.wav``.
    """
    names: dict[str, set[str]] = {os.path.normpath(folder): set() for folder in folders}
    start = os.path.join(os.path.normpath(root), "")
    for path in map(os.path.normpath, named):
        if path.startswith(start):
            folder, name = os.path.split(path)
            names.setdefault(folder, set()).add(os.path.splitext(name)[0].casefold())
    found = []
    for folder, known in names.items():
        if not os.path.isdir(folder):
            continue
        for name in os.listdir(folder):
            stem, ending = os.path.splitext(name)
            if ending.lower() in SOUND and name[0] != "." and stem.casefold() not in known:
                found.append(Path(os.path.relpath(os.path.join(folder, name), root)).as_posix())
    return tuple(sorted(found))
