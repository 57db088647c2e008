"""A corpus that is fine."""

import shutil
from pathlib import Path

EMOTIONS = ("angry", "happy", "neutral", "sad")


def write_corpus(folder: Path, trained: Path) -> Path:
    """A corpus of the recordings that `tests.trained_rows.fill` wrote beside its store."""
    folder.mkdir(parents=True)
    lines = ["path,text,emotion,speaker"]
    for n in range(24):
        shutil.copy(trained / f"{n}.wav", folder)
        lines.append(f"{n}.wav,so glad,{EMOTIONS[n % 4]},speaker{n // 8}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder
