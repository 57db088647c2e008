"""A store with thousands of finished runs that nobody has trained, of a study that can be planned.

The corpus is the demo's, the study's file is written beside the store, and every run that a plan of
it asks for has a report, predictions and a curve of twelve epochs. So `mlt-ray run` with the same
file finds all of it in the store.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.synthetic.demo import write_demo
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.labels import FOUR, NAMED
from mlt_ray.planning.plan import PlannedRow, make_plan
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.spec import Run
from mlt_ray.storage.files import json_bytes
from mlt_ray.storage.record import write_record
from mlt_ray.storage.report import Epoch, Predictions, RunReport, curve_csv, predictions_csv
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study
from mlt_ray.workflows.run import fill_cache

FOLDS, SEEDS, EPOCHS = 5, 10, 12
UTTERANCES = 40
BEGAN_MS = 1_795_000_000_000
STUDY = "many"


@dataclass(frozen=True)
class ManyRuns:
    """The store, the corpus and the study's file, as a command names them."""

    store: Store
    corpus: Path
    study: Path
    rows: tuple[PlannedRow, ...]


def make(folder: Path, num_runs: int) -> ManyRuns:
    """Write a store of that many finished runs, a multiple of 50, into a new folder."""
    num_rows, rest = divmod(num_runs, FOLDS * SEEDS)
    if rest or not num_rows:
        raise SystemExit(f"--runs: expected multiples of {FOLDS * SEEDS}, got {num_runs}")
    folder.mkdir(parents=True, exist_ok=True)
    corpus, study, store = folder / "corpus", folder / f"{STUDY}.yaml", Store(folder / "store")
    write_demo(corpus, utterances=UTTERANCES)
    study.write_text(yaml.safe_dump(_study(num_rows)))
    workspace = Workspace.open(Places(corpus=corpus, store=store), [NAMED["four"]])
    counted = select(workspace.corpus, NAMED["four"])
    named = workspace.name_contents(load_study(str(study)))
    fill_cache(workspace, named.rows, Console(quiet=True))
    plan = make_plan(named, counted)
    number = 0
    for row in plan.rows:
        for run in row.runs:
            write_made_up(store, run, counted, number)
            number += 1
    write_record(store, store.study(STUDY), plan.as_record())
    return ManyRuns(store, corpus, study, plan.rows)


def _study(num_rows: int) -> dict[str, object]:
    return {
        "title": "Runs that nobody has trained",
        "seeds": list(range(1, SEEDS + 1)),
        "base": {"model": {"system": "multilevel", "inputs": "audio", "width": 48}},
        "rows": [{"name": f"row {n}", "training": {"batch_size": 2 + n}} for n in range(num_rows)],
    }


def write_made_up(store: Store, run: Run, corpus: Corpus, number: int) -> None:
    """Write a run with random scores; `number` is its place in time."""
    report, predictions = made_up(run, corpus, number)
    folder = store.run_dir(report.digest)
    folder.mkdir(parents=True)
    # Not by the store, which flushes each file to disk: that takes minutes for thousands.
    (folder / "weights.safetensors").write_bytes(b"")
    (folder / "inputs.json").write_bytes(b"{}")
    (folder / "predictions.csv").write_text(predictions_csv(predictions))
    (folder / "curve.csv").write_text(curve_csv(report.curve))
    (folder / "report.json").write_bytes(json_bytes(dataclasses.asdict(report)))


def made_up(run: Run, corpus: Corpus, number: int) -> tuple[RunReport, dict[str, Predictions]]:
    """The report and the predictions of a run with random scores."""
    drawn = np.random.default_rng(number)
    fold = make_folds(corpus, run.spec.folds)[run.fold - 1]
    predictions = {
        part: _predictions(getattr(fold, part), corpus, drawn) for part in ("dev", "test")
    }
    began = BEGAN_MS + 20_000 * number
    curve = tuple(_epoch(n, began, drawn) for n in range(1, EPOCHS + 1))
    report = RunReport(
        digest=run.digest,
        spec=run.spec.as_dict(),
        fold=run.fold,
        seed=run.seed,
        # As JSON has it: plain numbers.
        scores=json.loads(json.dumps({k: vars(p.scores()) for k, p in predictions.items()})),
        best_epoch=EPOCHS // 2,
        curve=curve,
        part_sizes={part: len(getattr(fold, part)) for part in ("train", "dev", "test")},
        num_parameters=100_000,
        started_ms=began,
        ended_ms=began + 1000 * (EPOCHS + 1),
        computed_s=float(EPOCHS),
        environment={"device": "cpu"},
    )
    return report, predictions


def _predictions(places: Sequence[int], corpus: Corpus, drawn: np.random.Generator) -> Predictions:
    shares = drawn.uniform(0.1, 1, (len(places), len(FOUR)))
    return Predictions(
        utterances=tuple(corpus.utterances[n].id for n in places),
        classes=FOUR,
        labels=np.array([FOUR.index(corpus.utterances[n].emotion) for n in places]),
        probabilities=shares / shares.sum(axis=1, keepdims=True),
    )


def _epoch(number: int, began: int, drawn: np.random.Generator) -> Epoch:
    dev_wa, dev_ua = drawn.random(2).tolist()
    return Epoch(
        epoch=number,
        train_loss=1 / number,
        dev_loss=1 + 1 / number,
        dev_wa=dev_wa,
        dev_ua=dev_ua,
        dev_macro_f1=dev_ua,
        ended_ms=began + 1000 * number,
    )
