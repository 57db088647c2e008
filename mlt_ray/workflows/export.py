"""Exports the trained model of a row: a folder that predicts by itself, MLflow's, or ONNX."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mlt_ray.errors import UserError
from mlt_ray.inference.folder.layout import HeldOut
from mlt_ray.inference.folder.write import write_folder
from mlt_ray.inference.package.requirements import pinned, requirements_of
from mlt_ray.inference.package.write import write_code, write_own_file, write_package
from mlt_ray.inference.trained import TrainedModel, open_trained
from mlt_ray.reports.card import CARD, Export, card_of, held_out, row_content
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.page.cells import slug
from mlt_ray.storage.files import beside, check_writable, put_in_place, write_bytes
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
    """Export the row ``STUDY/ROW`` of a store, or one run, into the new folder `out`.

    `out` None: one here, named after the row. `glove` and `model_file` are as in `open_trained`.
    `licence` is what the card says of the model. `log`: the model becomes that of the row's run in
    MLflow too. Raises `UserError` for a row that the store does not have or that has no finished
    run, a folder that is not empty, and an MLflow server that does not answer.
    """
    study, row, run = _place_of(name, store)
    if log and to != "mlflow":
        raise UserError(f"--log: expected it with --to mlflow, got --to {to}; leave it out")
    folder = out or Path(f"{run or f'{study}-{slug(row)}'}-{to}")
    _check_free(folder)
    check_writable(folder.parent, "--out")
    content = row_content(study, row, store, run)
    model = open_trained(name, store, glove=glove, model_file=model_file)
    parts = held_out(model, content.corpora[0]) if content.corpora else {}
    with beside(folder) as made:
        requirements = _WRITERS[to](model, parts, made)
        export = Export(
            to=to,
            folder=folder.name,
            licence=licence,
            requirements=requirements,
            files=tuple(path.name for path in made.iterdir()),
        )
        write_bytes(made / CARD, card_of(model, content, parts, export).encode())
        if not put_in_place(made, folder, bool):
            _check_free(folder)
    notes = _notes(model)
    if log:
        from mlt_ray.tracking.model import log_model

        notes = (*notes, log_model(content.record, store, tracking_uri, folder))
    return Exported(
        folder=folder, sizes=_sizes(folder), try_it=_try(to, folder, model), notes=notes
    )


def _place_of(name: str, store: Store) -> tuple[str, str, str | None]:
    """The study and the row that ``STUDY/ROW``, or the digest of a run, is of; and the digest."""
    study, slash, row = name.partition("/")
    if slash:
        return study, row, None
    for known in store.studies():
        for found in find_record(known, store).rows:
            if name in (run.digest for run in found.runs):
                return known, found.name, name
    raise UserError(
        f"{name}: expected STUDY/ROW, such as 'demo/highway network', or the digest of a run of a "
        "study in the store, got neither; mlt-ray report STUDY shows the rows"
    )


def _write_folder(model: TrainedModel, parts: HeldOut, folder: Path) -> tuple[str, ...]:
    write_package(model, folder, parts)
    return requirements_of(model)


def _write_mlflow(model: TrainedModel, parts: HeldOut, folder: Path) -> tuple[str, ...]:
    from mlt_ray.tracking.model import save_model

    requirements = requirements_of(model)
    with beside(folder) as made:
        data, code = made / "model", made / "code"
        data.mkdir()
        write_folder(model, data, parts)
        write_own_file(model, data)
        save_model(
            data,
            write_code(code),
            folder,
            requirements,
            more_columns=["text"] * model.reads_text + ["speaker"] * model.is_by_speaker,
            name=model.name,
        )
    return requirements


def _write_onnx(model: TrainedModel, parts: HeldOut, folder: Path) -> tuple[str, ...]:
    from mlt_ray.inference.graphs.write import write_onnx

    write_onnx(model, folder)
    return pinned(("numpy", "onnxruntime", "soundfile"))


_WRITERS: Final[Mapping[To, Callable[[TrainedModel, HeldOut, Path], tuple[str, ...]]]] = {
    "folder": _write_folder,
    "mlflow": _write_mlflow,
    "onnx": _write_onnx,
}
"""What writes each kind of export into an empty folder, and gives what it needs of pip."""


def _check_free(folder: Path) -> None:
    if (got := _taken(folder)) is not None:
        raise UserError(
            f"{folder}: expected a new or empty folder for the export, got {got}; name another "
            "with --out"
        )


def _taken(folder: Path) -> str | None:
    """Why no new folder can be put in the place of `folder`; None if one can."""
    if folder.is_symlink():
        return "a link"
    if not folder.exists():
        there = next(path for path in folder.absolute().parents if path.exists())
        return None if there.is_dir() else "one below a file"
    if not folder.is_dir():
        return "a file"
    if any(folder.iterdir()):
        return "one with files"
    # Renamed away, it would leave whoever is in it in a folder that is no more.
    return "the one you are in" if folder.samefile(Path.cwd()) else None


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
    where, said = shlex.quote(str(folder)), "what is said in it"
    if to == "mlflow":
        return f"mlflow models serve -m {where} --env-manager local"
    if to == "folder":
        return f"mlt-ray predict clip.wav --model {where}" + f' --text "{said}"' * model.reads_text
    if (folder / "run.py").exists():
        return f"python {where}/run.py clip.wav" + f' "{said}"' * model.reads_text
    return f"less {where}/{CARD}"
