"""Writes the files of MLflow's runs: straight into a local folder, else to where they are kept."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def write_files(client: Any, uri: str, files: Mapping[str, Path | bytes]) -> None:
    """Write files of a run, to where its files are."""
    folder = local_folder(uri)
    if folder is not None:
        copy_files(folder, files)
        return
    if not files:
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # Not by the client, which asks for the whole run first, to learn where its files are.
    there = get_artifact_repository(uri, tracking_uri=client.tracking_uri)
    with tempfile.TemporaryDirectory() as made:
        for name, content in files.items():
            path = content
            if isinstance(content, bytes):
                path = Path(made) / name
                path.write_bytes(content)
            there.log_artifact(str(path))


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
