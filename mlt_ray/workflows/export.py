"""Exports the trained model of a row: a folder that predicts by itself, MLflow's, or ONNX."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mlt_ray.errors import UserError
from mlt_ray.inference.folder import HeldOut, write_folder
from mlt_ray.inference.package.requirements import requirements_of
from mlt_ray.inference.package.write import write_code, write_own_file, write_package
from mlt_ray.inference.trained import TrainedModel, open_trained
from mlt_ray.reports.card import CARD, Export, card_of, held_out, row_content
from mlt_ray.reports.page.cells import slug
from mlt_ray.storage.files import beside, put_in_place, write_bytes
from mlt_ray.storage.store import Store

To = Literal["folder", "mlflow", "onnx"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: the folder, its files with their sizes in bytes, and how to go on.

    `try_it` is a command. `notes` are lines for people.
    """

    folder: Path
    sizes: Mapping[str, int]
    try_it: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What a writer puts into an export."""

    model: TrainedModel
    parts: HeldOut
    requirements: tuple[str, ...]


def export_model(
    name: str,
    store: Store,
    to: To,
    out: Path | None = None,
    *,
    glove: Path | None = None,
    model_file: Path | None = None,
    licence: str | None = None,
    log: bool = False,
    tracking_uri: str | None = None,
) -> Exported:
    """Export the row ``STUDY/ROW`` of a store into the new folder `out` (None: one here).

    `glove` and `model_file` are as in `open_trained`. `licence` is what the card says of the model.
    `log`: the model becomes that of the row's run in MLflow too. Raises `UserError` for a row that
    the store does not have or that has no finished run, a folder that is not empty, and an MLflow
    server that does not answer.
    """
    study, slash, row = name.partition("/")
    if not slash:
        raise UserError(
            f"{name}: expected STUDY/ROW, such as 'demo/highway network'; see the table"
        )
    if log and to != "mlflow":
        raise UserError(f"--log: expected it with --to mlflow, got --to {to}; leave it out")
    folder = out or Path(f"{study}-{slug(row)}-{to}")
    _check_free(folder)
    content = row_content(study, row, store)
    model = open_trained(name, store, glove=glove, model_file=model_file)
    parts = held_out(model, content.corpora[0]) if content.corpora else {}
    contents = _Contents(model=model, parts=parts, requirements=requirements_of(model))
    with beside(folder) as made:
        _WRITERS[to](contents, made)
        export = Export(
            to=to, folder=folder.name, licence=licence, requirements=contents.requirements
        )
        card = card_of(model, content, parts, export)
        write_bytes(made / CARD, card.encode())
        if not put_in_place(made, folder, bool):
            _check_free(folder)
    notes = _notes(model)
    if log:
        from mlt_ray.tracking.model import log_model

        notes = (*notes, log_model(content.record, store, tracking_uri, folder))
    return Exported(
        folder=folder, sizes=_sizes(folder), try_it=_try(to, folder, model), notes=notes
    )


def _write_mlflow(contents: _Contents, folder: Path) -> None:
    from mlt_ray.tracking.model import save_model

    with beside(folder) as parts:
        data, code = parts / "model", parts / "code"
        data.mkdir()
        write_folder(contents.model, data, contents.parts)
        write_own_file(contents.model, data)
        save_model(
            data,
            write_code(code),
            folder,
            contents.requirements,
            reads_text=contents.model.reads_text,
            name=contents.model.name,
        )


def _write_onnx(contents: _Contents, folder: Path) -> None:
    from mlt_ray.inference.graphs.write import write_onnx

    write_onnx(contents.model, folder)


_WRITERS: Final[Mapping[To, Callable[[_Contents, Path], None]]] = {
    "folder": lambda contents, folder: write_package(contents.model, folder, contents.parts),
    "mlflow": _write_mlflow,
    "onnx": _write_onnx,
}


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder}: expected a new or empty folder for the export, got one with files; name "
            "another with --out, or delete it"
        )


def _notes(model: TrainedModel) -> tuple[str, ...]:
    done = len(model.runs)
    if done == model.planned:
        return ()
    return (
        f"only {done} of the row's {model.planned} runs are finished; the others are not in it",
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file or folder in a folder."""
    return {
        path.name: sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
        for path in sorted(folder.iterdir())
    }


def _try(to: To, folder: Path, model: TrainedModel) -> str:
    where = shlex.quote(str(folder))
    text = ' --text "what is said in it"' if model.reads_text else ""
    return {
        "folder": f"mlt-ray predict {where} clip.wav{text}",
        "mlflow": f"mlflow models serve -m {where} --env-manager local",
        "onnx": f"mlt-ray predict {where} clip.wav{text}",
    }[to]
