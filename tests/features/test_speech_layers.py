"""What runs read of a speech encoder: pooled layers, and states as frames."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlt_ray.corpus.audio import read_audio
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import encoder_folder, find_encoder
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import layer_states, pooled
from mlt_ray.errors import UserError
from mlt_ray.features.extract import FeatureCache
from mlt_ray.features.extras import open_cache
from mlt_ray.planning.contents import name_contents
from mlt_ray.planning.estimate import estimate
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.planning.states import states_left
from mlt_ray.spec import ExtraInput, FeatureSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import parse_study
from mlt_ray.training.from_store import fold_data
from tests.noise_corpus import filled, noise_corpus, pretrained_of, study
from tests.tiny_speech_encoder import WIDTH, write_speech_encoder

CPU = torch.device("cpu")
NUM_LAYERS = 3  # with layer 0


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return noise_corpus(tmp_path)


@pytest.fixture(params=["wav2vec2", "hubert", "wavlm", "whisper"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_speech_encoder(tmp_path / "heard", request.param)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def all_states(corpus: Corpus, heard: Path) -> list[torch.Tensor]:
    encoder = open_encoder(heard, CPU)
    return [layer_states(encoder, [read_audio(u.audio)])[0] for u in corpus.utterances]


@pytest.mark.parametrize(("layer", "place"), [("last", 2), (1, 1), (-3, 0)])
def test_one_layer_is_standardised_over_train(
    layer: Any, place: int, corpus: Corpus, heard: Path, store: Store
) -> None:
    model = {"system": "speech", "speech_encoder": str(heard), "speech_layer": layer}
    data = fold_data(filled(study(model=model), corpus, store, heard), store)
    vectors = torch.stack([pooled(states)[place] for states in all_states(corpus, heard)])
    train = vectors[list(data.parts["train"])]
    expected = (vectors - train.mean(dim=0)) / train.std(dim=0, correction=0)
    found = data.batch(range(len(corpus))).extras["speech_layers"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert data.sizes.extras == {"speech_layers": 2 * WIDTH}
    assert data.sizes.num_speech_layers == 0


def test_all_layers_come_together(corpus: Corpus, heard: Path, store: Store) -> None:
    model = {"system": "speech", "speech_encoder": str(heard)}
    data = fold_data(filled(study(model=model), corpus, store, heard), store)
    found = data.batch([3, 1]).extras["speech_layers"]
    assert found.shape == (2, NUM_LAYERS, 2 * WIDTH)
    assert data.sizes.num_speech_layers == NUM_LAYERS
    np.testing.assert_array_equal(found.numpy(), data._extras["speech_layers"].batch([3, 1]))


def test_layers_are_computed_once_for_all_rows(
    corpus: Corpus, store: Store, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    pretrained = pretrained_of(heard)
    told: list[tuple[str, int]] = []
    for layer in ("weighted", "last", 1):
        model = {"system": "speech", "speech_encoder": str(heard), "speech_layer": layer}
        named = name_contents(study(model=model), corpus, pretrained)
        fill_cache(
            corpus, named.rows, store, pretrained, lambda what, done, _: told.append((what, done))
        )
    counted = [done for what, done in told if what == "speech_layers of heard"]
    assert counted == list(range(len(corpus) + 1))


@pytest.mark.parametrize(("layer", "place"), [("last", 2), (1, 1)])
def test_states_of_one_layer_are_frames(
    layer: Any, place: int, corpus: Corpus, heard: Path, store: Store
) -> None:
    frames = {"kind": "encoder", "encoder": str(heard), "layer": layer}
    model = {"system": "multilevel", "inputs": "audio"}
    data = fold_data(
        filled(study(features={"frames": frames}, model=model), corpus, store, heard), store
    )
    states = [found[place].half().float() for found in all_states(corpus, heard)]
    train = torch.cat([states[n] for n in data.parts["train"]])
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0)
    for n, own in enumerate(states):
        expected = (own - mean) / deviation
        torch.testing.assert_close(torch.from_numpy(data.frames(n)), expected, rtol=1e-2, atol=2e-2)
    assert (data.sizes.frame_dim, data.sizes.frame_layers) == (WIDTH, 1)


def test_states_of_all_layers_stand_side_by_side(corpus: Corpus, heard: Path, store: Store) -> None:
    frames = {"kind": "encoder", "encoder": str(heard)}
    model = {"system": "multilevel", "inputs": "audio"}
    features = {"frames": frames, "frames_per_step": 2}
    data = fold_data(filled(study(features=features, model=model), corpus, store, heard), store)
    assert (data.sizes.frame_dim, data.sizes.frame_layers) == (NUM_LAYERS * WIDTH, NUM_LAYERS)
    states = all_states(corpus, heard)
    assert data.num_steps.tolist() == [-(-found.shape[1] // 2) for found in states]
    assert data.frames(0).dtype == np.float32


def test_a_trained_encoder_reads_the_states_as_they_are(
    corpus: Corpus, heard: Path, store: Store
) -> None:
    model = {"system": "speech", "speech_encoder": str(heard), "fine_tune": "last_n", "last_n": 1}
    run = filled(study(model=model), corpus, store, heard)
    assert run.spec.features.frames.encoder == run.spec.model.speech_encoder
    assert run.spec.features.frames.layer == -2
    data = fold_data(run, store)
    for n, found in enumerate(all_states(corpus, heard)):
        np.testing.assert_allclose(data.frames(n), found[1], rtol=2e-3, atol=2e-3)
    identity = find_encoder(str(heard), SPEECH).identity
    assert data.sizes.speech_encoder == encoder_folder(store, identity)


def test_states_of_a_frozen_encoder_bring_no_encoder_to_train(
    corpus: Corpus, store: Store, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    model = {"system": "speech", "speech_encoder": str(heard), "head": "states", "hidden_width": 7}
    data = fold_data(filled(study(model=model), corpus, store, heard), store)
    assert data.sizes.speech_encoder is None
    assert data.sizes.frame_layers == NUM_LAYERS
    train = np.concatenate([data.frames(n) for n in data.parts["train"]])
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=2e-3)


def test_words_are_found_among_the_states(corpus: Corpus, store: Store, tmp_path: Path) -> None:
    """The one word of a text lasts as long as its recording, at 16,000 / 60 states a second."""
    heard = write_speech_encoder(tmp_path / "heard")
    frames = {"kind": "encoder", "encoder": str(heard), "layer": 1}
    row = study(features={"frames": frames, "frames_per_step": 2}, model={"system": "li"})
    data = fold_data(filled(row, corpus, store, heard), store)
    spans = data.batch(range(len(corpus))).extras["alignment"]
    ends = [round(u.duration_s * 16_000 / 60 / 2) for u in corpus.utterances]
    assert spans[:, 0].tolist() == [[0, end] for end in ends]
    np.testing.assert_allclose(data.num_steps, ends, atol=1)


@pytest.mark.parametrize("fine_tune", [False, "all"])
def test_how_long_a_run_on_states_takes_is_known_after_the_first(
    corpus: Corpus, store: Store, tmp_path: Path, fine_tune: bool | str
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    model = {"system": "speech", "speech_encoder": str(heard), "fine_tune": fine_tune}
    model |= {"head": "states", "hidden_width": 7}
    named = name_contents(study(model=model), corpus, pretrained_of(heard))
    assert estimate(make_plan(named, corpus).rows[0], corpus, store) is None


def test_whisper_padded_to_30_s_has_caches_of_its_own(
    corpus: Corpus, store: Store, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard", "whisper")
    model = {"system": "speech", "speech_encoder": str(heard), "speech_layer": "last"}
    found = []
    for padded in (False, True):
        row = study(features={"pad_to_30s": padded}, model=model)
        data = fold_data(filled(row, corpus, store, heard), store)
        found.append(data.batch([0, 1]).extras["speech_layers"])
    assert len(list(store.root.glob("features/speech_layers-*"))) == 2
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def test_frames_of_a_speaker_are_standardised_by_that_speaker(
    corpus: Corpus, store: Store, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    frames = {"kind": "encoder", "encoder": str(heard), "layer": 1}
    row = study(
        features={"frames": frames, "standardise": "speaker"},
        model={"system": "multilevel", "inputs": "audio"},
    )
    data = fold_data(filled(row, corpus, store, heard), store)
    for speaker in {u.speaker for u in corpus.utterances}:
        own = [n for n, u in enumerate(corpus.utterances) if u.speaker == speaker]
        together = np.concatenate([data.frames(n) for n in own])
        np.testing.assert_allclose(together.mean(axis=0), 0, atol=2e-3)
        np.testing.assert_allclose(together.std(axis=0), 1, atol=2e-3)


def test_what_will_be_stored_is_told_before(corpus: Corpus, store: Store, tmp_path: Path) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    pretrained = pretrained_of(heard)
    frames = {"kind": "encoder", "encoder": str(heard)}
    row = study(
        features={"frames": frames},
        model={"system": "multigranularity", "encoder": None, "speech_encoder": str(heard)},
    )
    named = name_contents(row, corpus, pretrained)
    left = states_left(corpus, named.rows, store, pretrained)
    pooled_layers = 4 * len(corpus) * NUM_LAYERS * 2 * WIDTH
    as_frames = next(each for each in left if each.num_states)
    assert [each.num_bytes for each in left if each.num_states is None] == [pooled_layers]
    fill_cache(corpus, named.rows, store, pretrained, lambda *_: None)
    stored = FeatureCache.open(store, named.rows[0].features).frames
    rows = sum(stored.rows(u.audio_sha256) for u in corpus.utterances)
    assert as_frames.num_states == pytest.approx(rows, rel=0.05)
    sums = 2 * 8 * len(corpus)
    assert as_frames.num_bytes == (2 * as_frames.num_states + sums) * NUM_LAYERS * WIDTH
    assert str(as_frames).startswith(f"all 3 layers of heard as frames: {len(corpus)} recordings")
    assert states_left(corpus, named.rows, store, pretrained) == ()


def test_a_disk_without_room_for_the_states_is_told_before(
    corpus: Corpus, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    pretrained = pretrained_of(heard)
    model = {"system": "speech", "speech_encoder": str(heard)}
    named = name_contents(study(model=model), corpus, pretrained)
    usage = type("Usage", (), {"free": 17})
    monkeypatch.setattr("mlt_ray.planning.states.shutil.disk_usage", lambda place: usage)
    with pytest.raises(UserError, match=r"store: expected .* MB of free disk .*, got 0 MB; name"):
        states_left(corpus, named.rows, store, pretrained)


def test_recordings_are_counted_once_for_each_cache(
    corpus: Corpus, store: Store, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard", "whisper")
    pretrained = pretrained_of(heard)
    rows = {
        "weighted": {},
        "last": {"model": {"speech_layer": "last"}},
        "two classes": {"labels": ["angry", "sad"]},
        "other features": {"features": {"max_words": 3}},
        "padded": {"features": {"pad_to_30s": True}},
    }
    base = {"model": {"system": "speech", "speech_encoder": str(heard)}, "folds": {"by": "speaker"}}
    values = {"base": base, "rows": [{"name": name, **row} for name, row in rows.items()]}
    named = name_contents(parse_study("study", values), corpus, pretrained).rows
    left = states_left(corpus, named, store, pretrained)
    assert [each.num_recordings for each in left] == [len(corpus)] * 2
    # What counts in some rows alone is filled, and the others find the rest missing.
    (two,) = (row for row in named if row.name == "two classes")
    filled = fill_cache(corpus, [two], store, pretrained, lambda *_: None)
    few = sum(u.emotion in ("angry", "sad") for u in corpus.utterances)
    assert filled > few
    left = states_left(corpus, named, store, pretrained)
    assert [each.num_recordings for each in left] == [len(corpus) - few, len(corpus)]
    assert [row.name for row in named if not states_left(corpus, [row], store, pretrained)] == [
        "two classes"
    ]


def test_rows_of_other_features_each_find_theirs(
    corpus: Corpus, store: Store, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard", "whisper")
    pretrained = pretrained_of(heard)
    base = {"model": {"system": "speech", "speech_encoder": str(heard)}, "folds": {"by": "speaker"}}
    rows = [{"name": str(padded), "features": {"pad_to_30s": padded}} for padded in (True, False)]
    padded_or_not = parse_study("study", {"base": base, "rows": rows})
    named = name_contents(padded_or_not, corpus, pretrained)
    fill_cache(corpus, named.rows, store, pretrained, lambda *_: None)
    for row in make_plan(named, corpus).rows:
        assert fold_data(row.runs[0], store).sizes.num_speech_layers == NUM_LAYERS


@pytest.mark.parametrize(
    ("features", "line"),
    [
        ({"frames_per_step": 2}, "frames_per_step: expected 1 where an encoder is fine-tuned"),
        ({"pad_to_30s": True}, "pad_to_30s: expected false where an encoder is fine-tuned"),
    ],
)
def test_a_trained_encoder_refuses_states_that_are_not_its_own(
    features: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=line):
        study(features=features, model={"system": "speech", "fine_tune": "all"})


@pytest.mark.parametrize("model", [{"fine_tune": "lora"}, {"head": "states", "hidden_width": 7}])
def test_a_model_with_states_of_its_own_refuses_other_frames(model: dict[str, Any]) -> None:
    frames = {"kind": "encoder", "encoder": "resemblyzer"}
    with pytest.raises(UserError, match=r"frames\.kind: expected none .* got encoder"):
        study(features={"frames": frames}, model={"system": "speech", **model})


@pytest.mark.parametrize(
    ("frames", "line"),
    [
        ({"kind": "encoder"}, "frames.encoder: expected resemblyzer, a folder or a name, got none"),
        ({"encoder": "x"}, "frames.encoder: expected it with kind: encoder, got kind: log_mel"),
        ({"layer": 1}, "frames.layer: expected it with kind: encoder, got kind: log_mel"),
        ({"kind": "encoder", "encoder": "x", "layer": "first"}, "frames.layer: expected last or"),
    ],
)
def test_frames_without_an_encoder_or_with_one_too_many_are_refused(
    frames: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=line):
        study(features={"frames": frames}, model={"system": "multilevel"})


def test_old_caches_of_frames_keep_their_names() -> None:
    """Whatever later kinds of frames can have besides."""
    store = Store("nowhere")
    spec = FeatureSpec(vectors="v@1", phonemizer="p", libraries="numpy 2.4.6")
    folder = FeatureCache.open(store, spec).frames.folder
    assert folder.name == "frames-a3132190a42e8171"
    embedding = open_cache(ExtraInput("speech_layers", "x@1"), store, spec).folder
    assert embedding == open_cache(ExtraInput("speech_layers", "x@1", 3), store, spec).folder
    padded = replace(spec, pad_to_30s=True)
    assert FeatureCache.open(store, padded).frames.folder == folder
    assert open_cache(ExtraInput("speech_layers", "x@1"), store, padded).folder != embedding
