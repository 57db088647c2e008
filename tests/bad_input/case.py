"""One bad input: the files it needs, the command that meets them, and what must be said."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Content = str | bytes


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command that must end in one line.

    `command` is what stands behind ``mlt-ray``. In its words ``@here`` is the case's own folder,
    ``@corpus`` a corpus that is fine, and ``@store`` a store with finished runs. `says`: what the
    line must hold. `files` are written into the case's folder first. `damage` gets that folder, with
    a copy of the store in it that ``@store`` then means. `environment`: variables, None for one that
    must not be set. `stream`: what standard input holds.
    """

    command: str
    says: str
    files: Mapping[str, Content] = field(default_factory=dict)
    damage: Callable[[Path], None] | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    stream: bytes = b""

    def words(self, **places: Path) -> list[str]:
        """The arguments of the command, with the places in them."""
        found = []
        for word in shlex.split(self.command):
            for name, path in places.items():
                word = word.replace(f"@{name}", str(path))
            found.append(word)
        return found

    def write(self, folder: Path) -> None:
        """Write the case's files."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
