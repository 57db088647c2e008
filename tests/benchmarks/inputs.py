"""Corpora and folds for benchmarks, made ready as `mlt-ray run` makes them, but without Ray."""

import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.manifest import FILE_NAME
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.corpus.synthetic.demo import write_demo
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.display.bars import Bars
from mlt_ray.features.batching import FoldData
from mlt_ray.labels import FOUR, NAMED
from mlt_ray.planning.plan import PlannedRow, make_plan
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study


@dataclass(frozen=True)
class Inputs:
    """A corpus, a store with its features, and the distinct rows of studies."""

    corpus: Corpus
    store: Store
    rows: tuple[PlannedRow, ...]

    def fold(self, run: Run) -> FoldData:
        """The fold that the run is trained on."""
        return fold_of(run, self.corpus, self.store)


def open_inputs(
    studies: Sequence[str],
    corpus_folder: Path,
    store: Store,
    console: Console,
    *,
    encoder: str | None = None,
    rows: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Inputs:
    """Read the corpus, fill the cache, and plan the named rows (empty: all), each spec once."""
    places = Places(corpus=corpus_folder, store=store, encoder=encoder)
    workspace = Workspace.open(places, [NAMED["four"]])
    corpus = select(workspace.corpus, NAMED["four"])
    chosen = rows or None
    named = [
        workspace.name_contents(load_study(name, overrides, chosen), chosen) for name in studies
    ]
    asked = [r for study in named for r in study.rows if not rows or r.name in rows]
    with Bars(console) as bars:
        workspace.fill_cache(asked, bars.show)
    planned = [row for study in named for row in make_plan(study, corpus).rows]
    distinct: dict[RunSpec, PlannedRow] = {}
    for row in planned:
        if not rows or row.name in rows:
            distinct.setdefault(row.runs[0].spec, row)
    return Inputs(corpus, store, tuple(distinct.values()))


MLT_RAY = (sys.executable, "-c", "from mlt_ray.cli.app import main; main()")
"""The command, of the package that this interpreter imports."""


def given_or_demo(given: Path | None, folder: Path) -> Path:
    """The given corpus, or else the demo's, which is synthesized into a folder."""
    if given is not None:
        return given
    write_demo(folder / "demo-corpus")
    return folder / "demo-corpus"


def sampled(corpus: Path, utterances: int | None, folder: Path) -> Path:
    """The corpus; or if a number is given, a folder with a manifest of that many utterances."""
    if not utterances:
        return corpus
    write_manifest(thinned(counted(corpus), utterances), folder / "sample")
    return folder / "sample"


def counted(corpus: Path) -> Corpus:
    """The utterances of the paper's four classes in the corpus at a path."""
    return select(read_corpus(corpus), NAMED["four"])


def thinned(corpus: Corpus, utterances: int) -> Corpus:
    """A corpus of about that many random utterances, always the same.

    It takes the same share of every class in every session, rounded up, so that no class is lost.
    """
    share = min(1.0, utterances / len(corpus))
    groups: dict[tuple[str | None, str], list[int]] = {}
    for index in np.random.default_rng(0).permutation(len(corpus)):
        utterance = corpus.utterances[index]
        groups.setdefault((utterance.session, utterance.emotion), []).append(int(index))
    chosen = sorted(i for some in groups.values() for i in some[: math.ceil(share * len(some))])
    return replace(corpus, utterances=tuple(corpus.utterances[i] for i in chosen))


def write_manifest(corpus: Corpus, folder: Path) -> None:
    """Write a manifest of the corpus into a new folder; the recordings are not copied."""
    folder.mkdir(parents=True)
    with (folder / FILE_NAME).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "path", "text", "emotion", "speaker", "session", "dialog"))
        for u in corpus.utterances:
            path = u.audio.resolve()
            writer.writerow((u.id, path, u.text, u.emotion, u.speaker, u.session, u.dialog))


def read_table(fingerprint: str, store: Store) -> Corpus:
    """The corpus with that fingerprint, from the table that `open_inputs` wrote into the store."""
    found = Corpus.from_dict(store.read_json(store.corpus(fingerprint)))
    return replace(found, classes=FOUR)


def fold_of(run: Run, corpus: Corpus, store: Store) -> FoldData:
    """The fold that the run is trained on, from the store's cache and encoders."""
    fold = make_folds(corpus, run.spec.folds)[run.fold - 1]
    return FoldData.of_run(run, corpus, fold, store)
