"""A trained model says of a recording what its runs said of it when they were tested."""

import json
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlt_ray.corpus.audio import Samples, read_audio
from mlt_ray.corpus.utterance import Spoken, Utterance
from mlt_ray.errors import UserError
from mlt_ray.inference.load import load
from mlt_ray.inference.predictor import Predictor, Probabilities
from mlt_ray.models.own import load_systems
from mlt_ray.storage.store import Store
from mlt_ray.training.weights import EARLIER_FILE, WEIGHTS_FILE, read_weights
from tests.trained_store import (
    SMALL,
    corpus_with_words,
    scores_of,
    study_of,
    train_rows,
    trained_store,
)

SIX_DIGITS = 0.51e-6
"""Half of the last digit of predictions.csv."""


@dataclass(frozen=True)
class Heard:
    """A recording in memory."""

    id: str
    audio: Samples
    text: str
    speaker: str = ""
    duration_s: float = 1.0
    alignment: None = None


def named(store: Store, spoken: Sequence[Utterance], digest: str) -> list[Utterance]:
    by_id = {u.id: u for u in spoken}
    return [by_id[name] for name in scores_of(store, digest)]


@pytest.mark.parametrize("row", SMALL)
def test_it_gives_the_probabilities_that_each_run_gave_its_test_part(row: str) -> None:
    store, corpus = trained_store()
    predictor = load(f"study/{row}", store)
    assert [run.fold for run in predictor.model.runs] == [1, 3]
    assert predictor.model.planned == 5
    for place, run in enumerate(predictor.model.runs):
        found = predictor.probabilities(named(store, corpus.utterances, run.digest))
        expected = np.array(list(scores_of(store, run.digest).values()))
        np.testing.assert_allclose(found[place], expected, atol=SIX_DIGITS)


@pytest.mark.parametrize("row", SMALL)
def test_what_an_earlier_version_stored_predicts_the_same(row: str, tmp_path: Path) -> None:
    store, corpus = trained_store()
    copy = Store(shutil.copytree(store.root, tmp_path / "store"))
    before = load(f"study/{row}", store)
    for run in before.model.runs:
        folder = copy.run_dir(run.digest)
        if (folder / WEIGHTS_FILE).exists():
            torch.save(read_weights(folder / WEIGHTS_FILE), folder / EARLIER_FILE)
            (folder / WEIGHTS_FILE).unlink()
        few = json.loads((folder / "inputs.json").read_text())
        kept = {k: few[k] for k in ("mean", "deviation", "phonemes", "words")}
        (folder / "inputs.json").write_text(json.dumps(kept if before.model.is_network else {}))
    spoken = corpus.utterances[:7]
    after = load(f"study/{row}", copy).probabilities(spoken)
    np.testing.assert_allclose(after, before.probabilities(spoken), atol=1e-12)


@pytest.mark.parametrize("row", SMALL)
def test_one_by_one_and_in_a_batch_are_the_same(row: str) -> None:
    store, corpus = trained_store()
    predictor = load(f"study/{row}", store)
    spoken = corpus.utterances[3:12]
    together = predictor.probabilities(spoken)
    alone = np.concatenate([predictor.probabilities([one]) for one in spoken], axis=1)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(together.sum(axis=2), 1, atol=1e-12)


@pytest.mark.parametrize("row", SMALL)
def test_words_that_training_has_never_seen_are_read(row: str) -> None:
    """Of rows with a trained table, too: its networks know them by their pre-trained vectors."""
    store, corpus = trained_store()
    predictor = load(f"study/{row}", store)
    audio = read_audio(corpus.utterances[5].audio)
    texts = ("magnificent umbrella", "brxtl vlk", "", "so " * 97)
    found = predictor.probabilities([Heard(t, audio, t) for t in texts])
    assert np.isfinite(found).all()
    assert found.shape == (2, 4, 4)
    reads = predictor.model.reads_text
    assert reads == (row != "audio only")
    assert (np.abs(found[:, 0] - found[:, 1]).max() > 1e-7) == (reads and row != "tfidf")


def test_a_new_word_is_read_by_the_vector_that_it_has() -> None:
    """Two texts differ if their new words have other vectors, and only then."""
    store, corpus = trained_store()
    predictor = load("study/multilevel", store)
    first = predictor.model.runs[0]
    assert "umbrella" not in first.fitted.vectors
    vectors = predictor.model.tools.vectors.lookup(["umbrella", "noon"])
    audio = read_audio(corpus.utterances[5].audio)
    features = next(iter(predictor_features(predictor, Heard("x", audio, "umbrella"))))
    inputs = predictor.inputs([features], [Heard("x", audio, "umbrella")])
    np.testing.assert_array_equal(inputs.word_vectors[0], vectors["umbrella"])
    assert predictor.ensemble is not None
    member = predictor.ensemble.members[0]
    batch = member.batch(inputs)
    table = member.tables[0]
    table.more = inputs.word_vectors
    np.testing.assert_array_equal(table(batch.words)[0, 0], vectors["umbrella"])


@pytest.mark.parametrize("row", ["multilevel", "li", "tfidf", "late fusion"])
def test_four_threads_at_once_get_what_one_gets(row: str) -> None:
    """From the first call on: nothing is opened yet, and each thread has words of its own."""
    store, corpus = trained_store()
    texts = ("magnificent umbrella, 12", "brxtl at noon", "a purple telescope", "so what")
    parts = [
        [replace(u, text=f"{text} {u.text}") for u in corpus.utterances[n : n + 5]]
        for n, text in enumerate(texts)
    ]
    one = load(f"study/{row}", store)
    expected = [one.probabilities(part) for part in parts]
    together, start = load(f"study/{row}", store), threading.Barrier(len(parts))

    def called(part: Sequence[Utterance]) -> list[Probabilities]:
        start.wait()
        return [together.probabilities(part) for _ in range(3)]

    with ThreadPoolExecutor(len(parts)) as pool:
        found = list(pool.map(called, parts))
    for calls, own in zip(found, expected, strict=True):
        for each in calls:
            np.testing.assert_allclose(each, own, atol=1e-6)
    assert np.abs(expected[0][:, 1:] - expected[1][:, :-1]).max() > 1e-4


def predictor_features(predictor: Predictor, *spoken: Spoken) -> list[object]:
    from mlt_ray.inference.raw import raw_features

    return list(raw_features(spoken, predictor.model.spec, predictor.model.tools))


def test_a_process_that_has_predicted_can_train() -> None:
    """Tables that networks share, such as those of positions, must not belong to prediction."""
    store, corpus = trained_store()
    predictor = load("study/multilevel", store)
    found = predictor.probabilities(corpus.utterances[:2])
    assert predictor.ensemble is not None
    network = predictor.ensemble.members[0].network.requires_grad_(True)
    features = predictor_features(predictor, *corpus.utterances[:2])
    logits = predictor.ensemble.members[0](predictor.inputs(features, corpus.utterances[:2]))
    logits.sum().backward()
    assert any(p.grad is not None for p in network.parameters())
    np.testing.assert_allclose(logits.detach().softmax(1).numpy(), found[0], atol=1e-6)


def test_one_run_is_a_model_too() -> None:
    store, corpus = trained_store()
    whole = load("study/multilevel", store)
    run = whole.model.runs[1]
    alone = load(run.digest, store)
    spoken = corpus.utterances[:4]
    np.testing.assert_allclose(
        alone.probabilities(spoken)[0], whole.probabilities(spoken)[1], atol=1e-12
    )


@pytest.mark.parametrize("how", ["speaker"])
def test_a_row_standardised_by_speaker_reads_the_recordings_of_each(
    how: str, tmp_path: Path
) -> None:
    corpus = corpus_with_words(tmp_path)
    rows = {name: SMALL[name] for name in ("multilevel", "late fusion")}
    store = Store(tmp_path / "store")
    train_rows(store, corpus, study_of(rows, (1,), features={"standardise": how}), [(2, 1)])
    for row in rows:
        predictor = load(f"study/{row}", store)
        [run] = predictor.model.runs
        found = predictor.probabilities(corpus.utterances)[0]
        places = {u.id: n for n, u in enumerate(corpus.utterances)}
        expected = scores_of(store, run.digest)
        np.testing.assert_allclose(
            found[[places[name] for name in expected]], list(expected.values()), atol=SIX_DIGITS
        )
        with pytest.raises(UserError, match="expects at least 5 recordings of every speaker"):
            predictor.probabilities(corpus.utterances[:1])
        nobody = [replace(u, speaker="") for u in corpus.utterances]
        with pytest.raises(UserError, match="expects the speaker of every recording"):
            predictor.probabilities(nobody)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stdy/multilevel", "unknown study stdy; did you mean study?"),
        ("study/multilevl", "unknown row multilevl; did you mean multilevel?"),
        ("study", r"unknown row \(none\); known: multilevel, audio only"),
        ("0123456789abcdef", "expected a finished run in .*, found none"),
    ],
)
def test_a_name_that_the_store_does_not_have_is_told(name: str, says: str) -> None:
    store, _ = trained_store()
    with pytest.raises(UserError, match=says):
        load(name, store)


def test_other_word_vectors_than_those_of_training_are_refused(tmp_path: Path) -> None:
    store, corpus = trained_store()
    other = tmp_path / "other.txt"
    other.write_text("umbrella " + "0.1 " * 49 + "0.1\n")
    predictor = load("study/multilevel", store, glove=other)
    audio = read_audio(corpus.utterances[5].audio)
    with pytest.raises(UserError, match=r"word vectors: expected glove\.6B@.*, got other@.*glove"):
        predictor.probabilities([Heard("x", audio, "umbrella")])


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    store, _ = trained_store()
    copy = Store(shutil.copytree(store.root, tmp_path / "store"))
    digest = load("study/xu", store).model.runs[0].digest
    (copy.run_dir(digest) / WEIGHTS_FILE).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(UserError, match=r"weights\.safetensors: expected a network's weights"):
        load("study/xu", copy)


OWN = """
from dataclasses import dataclass
from torch import nn
from mlt_ray.models import System, builds
from mlt_ray.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class MineSpec(ModelSpec):
    system: str = "mine"
    width: int = 3


@builds(MineSpec)
class Mine(System):
    def __init__(self, spec, sizes):
        super().__init__()
        self.hidden = nn.Linear(sizes.frame_dim, spec.width)
        self.classifier = nn.Linear(spec.width, sizes.num_classes)

    def forward(self, batch):
        mask = batch.frame_mask[..., None]
        mean = (self.hidden(batch.frames) * mask).sum(dim=1) / mask.sum(dim=1)
        return self.classifier(mean)
"""


def test_a_model_of_ones_own_needs_its_file(tmp_path: Path) -> None:
    corpus, file = corpus_with_words(tmp_path), tmp_path / "mine.py"
    file.write_text(OWN)
    load_systems([str(file)], tmp_path, "models")
    values = {
        "models": [str(file)],
        "seeds": [1],
        "base": {"folds": {"by": "speaker"}, "training": {"max_epochs": 1}},
        "rows": [{"name": "mine", "model": {"system": "mine"}}],
    }
    from mlt_ray.studies.study import parse_study

    store = Store(tmp_path / "store")
    train_rows(store, corpus, parse_study("study", values), [(1, 1)])
    with pytest.raises(UserError, match=r"expected the file mine\.py@.*; give it"):
        load("study/mine", store)
    predictor = load("study/mine", store, model_file=file)
    [run] = predictor.model.runs
    found = predictor.probabilities(named(store, corpus.utterances, run.digest))[0]
    np.testing.assert_allclose(found, list(scores_of(store, run.digest).values()), atol=SIX_DIGITS)
    file.write_text(OWN + "\n# changed\n")
    with pytest.raises(UserError, match=r"expected the file mine\.py@.*got mine\.py@"):
        load("study/mine", store, model_file=file)
