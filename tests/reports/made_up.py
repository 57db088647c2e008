"""A store with a study of made-up runs: rows of different skill on a corpus of ten speakers."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.labels import FOUR
from mlt_ray.planning.plan import make_plan
from mlt_ray.reports.results import Results, results_of
from mlt_ray.spec import Run
from mlt_ray.storage.record import write_record
from mlt_ray.storage.report import Predictions
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import parse_study
from tests.stored import report_of

NUM_SPEAKERS, NUM_UTTERANCES = 10, 120
SPOKEN = 'He said "no" & <left>'
SKILLS: Mapping[str, float] = {"good": 0.8, "as good": 0.79, "<b>poor</b> & slow": 0.3}
"""Share of the test predictions of each row that are right whatever the rest."""


def corpus(num_utterances: int = NUM_UTTERANCES) -> Corpus:
    """Utterances in dialogs of an IEMOCAP-like corpus."""
    utterances = []
    for n in range(num_utterances):
        speaker = n % NUM_SPEAKERS
        scene = "impro" if n % 4 else "script"
        utterances.append(
            Utterance(
                id=f"u{n:03}",
                audio=Path(f"u{n}.wav"),
                text=SPOKEN,
                emotion=FOUR[n // NUM_SPEAKERS % 4],
                speaker=f"s{speaker}",
                dialog=f"Ses{speaker:02}_{scene}{n % 3:02}",
                duration_s=2.0,
                audio_sha256=hashlib.sha256(b"%d" % n).hexdigest(),
            )
        )
    return Corpus(name="made up", classes=FOUR, utterances=tuple(utterances))


def fill(
    store: Store, skills: Mapping[str, float] = SKILLS, num_utterances: int = NUM_UTTERANCES
) -> Results:
    """Write a study ``made`` with these rows into the store; returns its results."""
    spoken = corpus(num_utterances)
    study = parse_study(
        "made",
        {
            "title": "Made <up>",
            "seeds": [1, 2, 3],
            "base": {"model": {"system": "multilevel"}, "folds": {"by": "speaker"}},
            "rows": [
                {
                    "name": name,
                    "training": {"batch_size": 2 + n},
                    **({"published": {"wa": [0.7, 0.01], "ua": [0.71, None]}} if n == 0 else {}),
                }
                for n, name in enumerate(skills)
            ],
        },
    )
    plan = make_plan(study, spoken)
    for row in plan.rows:
        for run in row.runs:
            write(store, run, spoken, skills[row.name])
    record = plan.as_record()
    write_record(store, store.study("made"), record)
    store.write_json(store.corpus(record.fingerprint), spoken.as_dict())
    return results_of([record], store)


def write(store: Store, run: Run, spoken: Corpus, skill: float) -> None:
    """Write a run whose predictions are right as often as its skill says."""
    drawn = np.random.default_rng([run.fold, run.seed, round(100 * skill)])
    fold = make_folds(spoken, run.spec.folds)[run.fold - 1]
    found = {}
    for part in ("dev", "test"):
        places = getattr(fold, part)
        labels = np.array([FOUR.index(spoken.utterances[n].emotion) for n in places])
        # The first utterance is labelled wrongly: nobody finds it.
        right = (drawn.uniform(size=len(places)) < skill) & (np.asarray(places) != 0)
        shares = drawn.uniform(0, 0.2, (len(places), 4))
        shares[np.arange(len(places)), np.where(right, labels, (labels + 1) % 4)] += 1
        found[part] = Predictions(
            utterances=tuple(spoken.utterances[n].id for n in places),
            classes=FOUR,
            labels=labels,
            probabilities=shares / shares.sum(axis=1, keepdims=True),
        )
    scores = {part: vars(predictions.scores()) for part, predictions in found.items()}
    report = replace(
        report_of(run, dev_ua=scores["dev"]["ua"]),
        scores=scores,
        part_sizes={"train": 72, "dev": 24, "test": 24},
    )
    store.write_run(report, found, b"", {})
