"""Writes the files of MLflow's runs: straight into a local folder, else by MLflow's client."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def write_files(client: Any, run_id: str, uri: str, files: Mapping[str, Path | bytes]) -> None:
    """Write files of a run whose files are at `uri`."""
    folder = local_folder(uri)
    if folder is not None:
        copy_files(folder, files)
        return
    for name, content in files.items():
        if isinstance(content, Path):
            client.log_artifact(run_id, str(content))
            continue
        with tempfile.TemporaryDirectory() as made:
            path = Path(made) / name
            path.write_bytes(content)
            client.log_artifact(run_id, str(path))


def local_folder(uri: str) -> Path | None:
    """The folder that a location of files names; None if it is on no disk of this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def copy_files(folder: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write files into a local folder, which is made if there are any."""
    if files:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            (folder / name).write_bytes(content)
