"""What is said of one utterance by small rows that were trained on noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mlt_ray.batch import Batch
from mlt_ray.corpus.audio import read_audio
from mlt_ray.features.fitted import FittedInputs
from mlt_ray.inference.ensemble import Ensemble, Inputs, Member
from mlt_ray.inference.explanation.explain import Explainer, explain, step_times, with_mean_frames
from mlt_ray.inference.explanation.nearest import CLASSICAL, NO_STORE, best_on_dev, cosines
from mlt_ray.inference.explanation.parts import silenced, up_to, without_each
from mlt_ray.inference.explanation.values import Explanation
from mlt_ray.inference.load import load
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.vocabulary import Vocabulary
from mlt_ray.models.system import System
from mlt_ray.spec import FeatureSpec, FramesSpec
from mlt_ray.storage.store import Store
from tests.inference.explanation.spoken import SECONDS, SPOKEN, utterance
from tests.trained_store import (
    SMALL,
    corpus_with_words,
    study_of,
    train_rows,
    trained_store,
)

TOKENS = ("i", "am", "so", "joyful", ",", "now", ".")
NUM_RUNS = 2
CLOSE = 1e-5
"""Between an utterance alone and among others; `Predictor` promises no less."""

Open = Callable[[str], Predictor]


@pytest.fixture(scope="module")
def trained() -> Store:
    return trained_store()[0]


@pytest.fixture(scope="module")
def open_row(trained: Store) -> Open:
    opened: dict[str, Predictor] = {}

    def opening(row: str) -> Predictor:
        if row not in opened:
            opened[row] = load(f"study/{row}", trained, device="cpu")
        return opened[row]

    return opening


@pytest.fixture(scope="module")
def found(trained: Store, open_row: Open) -> Callable[[str], Explanation]:
    made: dict[str, Explanation] = {}

    def explaining(row: str) -> Explanation:
        if row not in made:
            made[row] = explain(open_row(row), utterance(), "given", trained)
        return made[row]

    return explaining


def predicted(predictor: Predictor, **changed: object) -> np.ndarray:
    """(M, K) probabilities of the utterance with something changed, by the predictor itself."""
    return predictor.probabilities([replace(utterance(), **changed)])[:, 0]


@pytest.mark.parametrize("row", SMALL)
def test_the_answer_is_the_predictors(row: str, found: Callable, open_row: Open) -> None:
    said = found(row)
    np.testing.assert_allclose(said.probabilities, predicted(open_row(row)), atol=CLOSE)
    assert said.label == said.classes[said.probabilities.mean(axis=0).argmax()]
    assert said.words == TOKENS


def test_the_last_time_has_the_probabilities_of_the_whole(found: Callable) -> None:
    over = found("multilevel").over_time
    assert over.times_s[-1] == pytest.approx(SECONDS)
    np.testing.assert_array_equal(over.probabilities[:, -1], found("multilevel").probabilities)


@pytest.mark.parametrize("row", ["multilevel", "audio only", "li"])
def test_an_earlier_time_has_those_of_the_recording_cut_there(
    row: str, found: Callable, open_row: Open
) -> None:
    over = found(row).over_time
    np.testing.assert_allclose(over.times_s, [0.5, 1.0, SECONDS])
    for n, time in enumerate(over.times_s[:-1]):
        cut = up_to(utterance().audio, time)
        expected = predicted(open_row(row), audio=cut)
        np.testing.assert_allclose(over.probabilities[:, n], expected, atol=CLOSE)


@pytest.mark.parametrize("row", ["multilevel", "text only", "li", "tfidf", "late fusion"])
def test_a_words_change_is_that_of_the_text_without_it(
    row: str, found: Callable, open_row: Open
) -> None:
    said = found(row)
    chosen = said.predicted
    for n, text in enumerate(without_each(SPOKEN, "en")):
        without = predicted(open_row(row), text=text)
        expected = without[:, chosen] - said.probabilities[:, chosen]
        np.testing.assert_allclose(said.changes[:, n], expected, atol=CLOSE)


def test_a_row_that_does_not_read_does_not_change_without_a_word(
    open_row: Open, found: Callable
) -> None:
    changes = Explainer(open_row("audio only"), utterance()).word_changes()
    assert changes.shape == (NUM_RUNS, len(TOKENS))
    np.testing.assert_allclose(changes, 0, atol=1e-6)
    said = found("audio only")
    assert said.changes is None
    assert said.absent["words"] == "This row does not read the text."


def test_a_row_that_does_not_hear_does_not_change_with_the_recording(found: Callable) -> None:
    said = found("text only")
    assert said.over_time is said.spans is None
    assert (
        said.absent["spans"]
        == said.absent["over_time"]
        == "The answer does not change with the recording."
    )


@pytest.mark.parametrize("row", SMALL)
def test_what_is_none_has_a_reason(row: str, found: Callable) -> None:
    said = found(row)
    for part in ("attention", "over_time", "spans", "nearest"):
        assert (getattr(said, part) is None) == (part in said.absent)
    assert (said.changes is None) == ("words" in said.absent)


def test_words_that_are_cut_off_are_not_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    study = study_of({"cut": SMALL["multilevel"]}, (1,), features={"max_words": 3})
    train_rows(store, corpus_with_words(tmp_path), study, [(1, 1)])
    said = explain(load("study/cut", store, device="cpu"), utterance(), "given")
    assert said.words == TOKENS[:3]
    assert said.changes.shape == (1, 3)
    assert said.attention.weights.shape[1] == 3


def test_attention_of_each_frame_sums_to_one(found: Callable) -> None:
    said = found("multilevel")
    np.testing.assert_allclose(said.attention.weights.sum(axis=1), 1, atol=1e-6)
    assert said.attention.of_words.sum() == pytest.approx(1)
    assert len(said.attention.phoneme_shares) == len(TOKENS)
    for symbols, shares in zip(said.phonemes, said.attention.phoneme_shares, strict=True):
        assert len(symbols) == len(shares)


def test_steps_lie_within_the_recording(found: Callable) -> None:
    attention = found("multilevel").attention
    last = attention.first_s + attention.step_s * (len(attention.weights) - 1)
    assert SECONDS - 2 * attention.step_s < last < SECONDS


@pytest.mark.parametrize(
    ("frames", "frames_per_step", "expected"),
    [
        (FramesSpec(window_ms=25, hop_ms=12), 1, (0.0125, 0.012)),
        # Frames of 0–25, 10–35 and 20–45 ms: their mean lies around 22.5 ms.
        (FramesSpec(window_ms=25, hop_ms=10), 3, (0.0225, 0.03)),
        (FramesSpec(kind="encoder", encoder="any"), 1, (0.005, 0.01)),
    ],
)
def test_a_step_lies_in_the_middle_of_what_it_has_heard(
    frames: FramesSpec, frames_per_step: int, expected: tuple[float, float]
) -> None:
    hop_ms = 10 if frames.kind == "encoder" else frames.hop_ms
    spec = FeatureSpec(frames=frames, frames_per_step=frames_per_step)
    assert step_times(spec, hop_ms) == pytest.approx(expected)


@dataclass(frozen=True)
class Linear:
    """Weights of one run of the network below, and its mean and deviation."""

    weight: Tensor
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class MeanOfFrames(System):
    """Logits that are linear in the mean of the frames."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, batch: Batch) -> Tensor:
        total = (batch.frames * batch.frame_mask[..., None]).sum(dim=1)
        return total / batch.num_frames[:, None] @ self.weight


def linear_ensemble(runs: list[Linear]) -> Ensemble:
    """Runs of `MeanOfFrames` side by side."""
    fitted = [FittedInputs(mean=r.mean, deviation=r.deviation, phonemes=(), words=()) for r in runs]
    vocabulary = Vocabulary.of(fitted)
    pairs = zip(runs, fitted, strict=True)
    members = [Member(MeanOfFrames(r.weight), f, vocabulary, False) for r, f in pairs]
    return Ensemble(members, vocabulary)


def test_a_span_of_a_linear_network_counts_as_the_formula_says() -> None:
    """Without a span, the sum of normalised frames lacks those of the span, and T stays."""
    rng = np.random.default_rng(5)
    frames = rng.normal(size=(2, 7, 3)) * 2 + 1
    num_frames, inside = [7, 4], np.zeros((2, 7), bool)
    inside[0, 2:5] = inside[1, :2] = True
    weights = rng.normal(size=(2, 3, 4))
    runs = [
        Linear(torch.tensor(w, dtype=torch.float32), (1.0, 0.5, n), (2.0, 3.0, 1.5))
        for n, w in enumerate(weights)
    ]
    inputs = Inputs(
        frames=torch.tensor(frames, dtype=torch.float32),
        num_frames=torch.tensor(num_frames),
        words=torch.ones(2, 1, dtype=torch.int64),
        num_words=torch.ones(2, dtype=torch.int64),
        word_vectors=torch.zeros(1, 3),
        phonemes=torch.ones(2, 1, 1, dtype=torch.int64),
    )
    found = with_mean_frames(linear_ensemble(runs), inputs, torch.from_numpy(inside))
    for m, run in enumerate(runs):
        normal = (frames - run.mean) / run.deviation
        for b, size in enumerate(num_frames):
            kept = normal[b, :size][~inside[b, :size]].sum(axis=0)
            logits = kept / size @ weights[m]
            expected = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(found[m, b], expected, atol=1e-6)


def test_without_every_frame_nothing_is_left_of_the_recording(open_row: Open) -> None:
    """All spans together are as if the recording had mean frames alone."""
    explainer = Explainer(open_row("audio only"), utterance())
    everything = np.array([[-np.inf, np.inf]])
    nothing = explainer._without_frames([explainer.features], everything)[:, 0]
    quiet = Explainer(open_row("audio only"), replace(utterance(), audio=utterance().audio / 50))
    again = quiet._without_frames([quiet.features], everything)[:, 0]
    np.testing.assert_allclose(nothing, again, atol=1e-6)


@pytest.mark.parametrize(
    ("row", "by"),
    [("multilevel", "frames"), ("xu", "frames"), ("yoon", "both"), ("late fusion", "silence")],
)
def test_what_stands_in_a_span_follows_from_what_is_read(row: str, by: str, open_row: Open) -> None:
    """Yoon et al. read frames and the prosody of the whole recording, late fusion eGeMAPS alone."""
    assert Explainer(open_row(row), utterance()).span_changes().by == by


def test_spans_cover_the_recording_each_moment_once(found: Callable) -> None:
    spans = found("multilevel").spans
    np.testing.assert_allclose(spans.spans_s, [[0, 0.5], [0.5, 1.0], [1.0, SECONDS]])
    assert spans.changes.shape == (NUM_RUNS, 3)


def test_silence_stands_in_a_span_where_no_frames_are_read(open_row: Open) -> None:
    """A classical row of the text alone: nothing changes."""
    spans = Explainer(open_row("tfidf"), utterance()).span_changes()
    assert spans.by == "silence"
    assert not spans.changes.any()


def test_silence_changes_what_is_computed_from_the_recording(open_row: Open) -> None:
    explainer = Explainer(open_row("audio only"), utterance())
    quiet = explainer.altered(silenced(explainer.samples, 0.5, 1.0))
    [features] = explainer._heard([quiet])
    assert features.words == explainer.features.words
    expected = predicted(open_row("audio only"), audio=quiet.audio)
    found = explainer._predicted([features], [quiet])[:, 0]
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_the_nearest_utterances_are_of_the_training_part_of_the_best_run(
    found: Callable, open_row: Open, trained: Store
) -> None:
    nearest, model = found("multilevel").nearest, open_row("multilevel").model
    reports = [trained.report(run.digest) for run in model.runs]
    was = [report.scores["dev"]["wa"] for report in reports]
    best = best_on_dev(model, trained)
    assert was[best] == max(was)
    assert nearest.run == f"fold {model.runs[best].fold}, seed 1"
    assert nearest.num_utterances == reports[best].part_sizes["train"]
    similarities = [one.similarity for one in nearest.neighbours]
    assert len(similarities) == 5
    assert similarities == sorted(similarities, reverse=True)


def test_a_training_utterance_is_nearest_to_itself(
    found: Callable, open_row: Open, trained: Store
) -> None:
    first = found("multilevel").nearest.neighbours[0]
    model = open_row("multilevel").model
    corpus = trained.read_json(trained.corpus(model.spec.corpus))
    [own] = [u for u in corpus["utterances"] if u["id"] == first.id]
    samples = read_audio(Path(own["audio"]))
    same = replace(utterance(), audio=samples, text=own["text"], duration_s=len(samples) / 16_000)
    again = explain(open_row("multilevel"), same, "given", trained).nearest.neighbours[0]
    assert again.similarity == pytest.approx(1, abs=1e-5)
    assert again.label == own["emotion"]


def test_cosines_equal_those_of_scikit_learn() -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    rng = np.random.default_rng(3)
    vector, vectors = rng.normal(size=5), rng.normal(size=(7, 5))
    vectors[2] = 0
    expected = cosine_similarity(vector[None], vectors)[0]
    np.testing.assert_allclose(cosines(vector, vectors), expected, atol=1e-12)


def test_what_has_no_vectors_to_compare_says_so(found: Callable, open_row: Open) -> None:
    assert found("tfidf").absent["nearest"] == CLASSICAL
    assert found("tfidf").attention is None
    assert explain(open_row("audio only"), utterance(), "given").absent["nearest"] == NO_STORE


def test_without_a_text_there_are_no_words(open_row: Open, trained: Store) -> None:
    said = explain(open_row("multilevel"), utterance(text=""), "none", trained)
    assert said.words == ()
    assert said.attention is said.changes is None
    assert said.absent["words"] == "No text was given."
    assert said.absent["attention"] == "No text was given, so there are no words."
    assert said.spans is not None


def test_a_short_recording_has_one_span(open_row: Open) -> None:
    said = explain(open_row("audio only"), utterance(seconds=0.3), "given")
    np.testing.assert_allclose(said.over_time.times_s, [0.3])
    assert said.spans.changes.shape == (NUM_RUNS, 1)
