"""A store with a study of two small rows, trained in this process on a corpus of noise."""

from pathlib import Path

from mlt_ray.planning.backlog import note_plans
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import parse_study
from mlt_ray.training.from_store import train_from_store
from tests.noise_corpus import noise_corpus

NAME = "small"
AUDIO, BOTH = "audio only", "both"
"""Rows: one reads no text."""

NUM_RUNS = 2

STUDY = {
    "title": "Two small rows",
    "seeds": [1, 2],
    "base": {
        "features": {"frames_per_step": 4},
        "model": {
            "system": "multilevel",
            "width": 8,
            "num_heads": 2,
            "feed_forward": 8,
            "phoneme_dim": 4,
            "phoneme_channels": 4,
            "prenet_layers": 1,
            "mel_prenet_width": 8,
        },
        "folds": {"by": "speaker"},
        "training": {"learning_rate": 1e-2, "max_epochs": 1},
    },
    "rows": [
        {"name": AUDIO, "model": {"inputs": "audio"}},
        {"name": BOTH, "model": {"text": "highway"}},
    ],
}


def write_trained(folder: Path, name: str = NAME) -> Store:
    """The store in `folder`, with `NUM_RUNS` runs of each row of the study `name`."""
    store, pretrained = Store(folder / "store"), Pretrained.load(None)
    (folder / "corpus").mkdir(exist_ok=True)
    corpus = noise_corpus(folder / "corpus")
    named = name_contents(parse_study(name, STUDY), corpus, pretrained)
    fill_cache(corpus, named.rows, store, pretrained, lambda *_: None)
    plan = make_plan(named, corpus, folds=[1])
    note_plans([plan], store)
    for row in plan.rows:
        train_from_store(
            row.asked,
            store,
            on_epoch=lambda *_: None,
            tell=lambda *_: None,
            stop=lambda _: False,
        )
    return store
