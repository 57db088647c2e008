"""A folder that predicts by itself: a trained model, the code that runs it, and what it needs.

Beside the files of `mlt_ray.inference.folder.layout` it has ``predict.py``, ``requirements.txt``, a
copy of the part of this package that predicts, and the file of a model of the user's own.
"""

import shutil
from importlib import metadata
from pathlib import Path
from typing import Final

from mlt_ray.errors import UserError
from mlt_ray.inference.folder.layout import HeldOut
from mlt_ray.inference.folder.write import write_folder
from mlt_ray.inference.package.bundle import PACKAGE, bundle_of
from mlt_ray.inference.package.requirements import requirements_of
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.models.own import file_of

PREDICT: Final = "predict.py"
REQUIREMENTS: Final = "requirements.txt"
LICENCE: Final = "LICENSE"

_SCRIPT: Final = PACKAGE / "inference" / "package" / "script.py"


def write_package(model: TrainedModel, folder: Path, held_out: HeldOut) -> None:
    """Write a trained model and all that predicts with it into an existing, empty folder."""
    write_folder(model, folder, held_out)
    write_code(folder)
    shutil.copyfile(_SCRIPT, folder / PREDICT)
    lines = requirements_of(model)
    (folder / REQUIREMENTS).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    write_own_file(model, folder)


def write_code(folder: Path) -> Path:
    """Copy the part of this package that predicts into `folder`; returns the package's folder."""
    package = folder / PACKAGE.name
    for file in bundle_of().files:
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / file, package / file)
    if (licence := _licence()) is not None:
        (package / LICENCE).write_text(licence, "utf-8")
    return package


def write_own_file(model: TrainedModel, folder: Path) -> None:
    """Write the file of a model of the user's own beside the others, if it is one.

    `UserError` if the folder has a file of its name.
    """
    own = file_of(model.spec.model)
    if own is None:
        return
    path = folder / own.name
    if path.exists():
        raise UserError(
            f"{own.name}: expected another name for the file of a model that is exported, since "
            "the folder has a file of that name; rename it and train again"
        )
    path.write_bytes(own.content)


def _licence() -> str | None:
    """The text of this package's licence, from the installed package or from a checkout."""
    checkout = PACKAGE.parent / LICENCE
    if checkout.is_file():
        return checkout.read_text("utf-8")
    try:
        return metadata.distribution("mlt-ray").read_text(f"licenses/{LICENCE}")
    except metadata.PackageNotFoundError:
        return None
