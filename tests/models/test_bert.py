"""Bert alone: the CLS vector of transformers, with dropout that a resume repeats."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn
from transformers import AutoModel

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.corpus.folds import make_folds
from mlt_ray.encoders.catalogue import FAMILY
from mlt_ray.encoders.folder import find_encoder
from mlt_ray.encoders.text import cls_vectors, padded, word_pieces
from mlt_ray.errors import UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extras import FoldInput, Pieces, Vectors, joined
from mlt_ray.models.bert.network import Bert, load_encoder
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.dropout import Dropout, set_dropout_keys
from mlt_ray.models.registry import build_model
from mlt_ray.parsing import parse
from mlt_ray.spec import ExtraInput, FeatureSpec, FoldSpec, ModelSpec, Run, RunSpec, TrainingSpec
from mlt_ray.storage.report import Epoch
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.loop import train
from tests.models.batches import picked
from tests.models.checks import TOLERANCE, MakeBatch, SystemChecks, logits
from tests.tiny_encoder import DROPOUT_RATES, WIDTH, change_config, write_encoder

TEXTS = ("so what", "", "i told you", "no", "it's a rather long text", "oh", "what for")
SPECS = {"fine-tuned": BertSpec(), "frozen": BertSpec(fine_tune=False)}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def sizes(sizes: InputSizes, encoder: Path) -> InputSizes:
    return replace(sizes, extras={"pieces": 1, "text_embedding": WIDTH}, encoder=encoder)


@pytest.fixture
def make_batch(make_batch: MakeBatch, encoder: Path) -> MakeBatch:
    def make(num_frames: Sequence[int], num_words: Sequence[int]) -> Batch:
        return read(make_batch(num_frames, num_words), encoder, TEXTS[: len(num_frames)])

    return make


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    return make_batch([1] * 5, [1] * 5)


class TestBert(SystemChecks):
    network = Bert
    specs = SPECS

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        assert isinstance(spec, BertSpec)
        return (1e-2 if spec.fine_tune else 1e-1), 150

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        assert isinstance(spec, BertSpec)
        return [0.1, *(DROPOUT_RATES if spec.fine_tune else [])]


def read(batch: Batch, encoder: Path, texts: tuple[str, ...]) -> Batch:
    """The batch with the extras that its texts give."""
    pieces = padded(list(word_pieces(encoder, texts)), 0)
    vectors = torch.from_numpy(np.concatenate(list(cls_vectors(encoder, texts))))
    return replace(batch, extras={"pieces": pieces, "text_embedding": vectors})


def build(spec: BertSpec, sizes: InputSizes) -> Bert:
    torch.manual_seed(5)
    model = build_model(spec, sizes).eval()
    assert isinstance(model, Bert)
    return model


def test_the_vector_is_transformers_own_last_output_at_cls(
    sizes: InputSizes, batch: Batch, encoder: Path
) -> None:
    foreign = AutoModel.from_pretrained(encoder).eval()
    ids = batch.extras["pieces"]
    with torch.no_grad():
        expected = foreign(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
        trained = build(BertSpec(), sizes).text(batch)
    torch.testing.assert_close(trained, expected[:, 0], **TOLERANCE)
    frozen = build(BertSpec(fine_tune=False), sizes).text(batch)
    torch.testing.assert_close(frozen, expected[:, 0], **TOLERANCE)


def test_the_packaged_encoder_gives_transformers_own_cls_vector(
    sizes: InputSizes, make_batch: MakeBatch
) -> None:
    folder = find_encoder("minilm").folder
    batch = read(make_batch([1, 1], [1, 1]), folder, ("I am [LAUGHTER] furious!", ""))
    foreign = AutoModel.from_pretrained(folder).eval()
    model = build(BertSpec(), replace(sizes, encoder=folder))
    with torch.no_grad():
        for n, pieces in enumerate(batch.extras["pieces"]):
            alone = pieces[pieces != 0][None]
            expected = foreign(input_ids=alone).last_hidden_state[0, 0]
            found = model.text(batch)[n]
            torch.testing.assert_close(found, expected, **TOLERANCE)
            torch.testing.assert_close(batch.extras["text_embedding"][n], expected, **TOLERANCE)
    assert model.text.dim == 384


def test_dropout_in_training_does_not_depend_on_padding_and_neighbours(
    sizes: InputSizes, batch: Batch
) -> None:
    model = build(BertSpec(), sizes).train()
    set_dropout_keys(model, batch.utterances, 3)
    together = logits(model, batch)
    for order in ([1], [3, 0]):
        few = picked(batch, order)
        set_dropout_keys(model, few.utterances, 3)
        torch.testing.assert_close(logits(model, few), together[order], **TOLERANCE)
    set_dropout_keys(model, batch.utterances, 4)
    assert not torch.allclose(logits(model, batch), together, atol=1e-3)


@pytest.mark.parametrize("kind", FAMILY)
def test_every_kind_of_encoder_drops_out_by_key_alone(tmp_path: Path, kind: str) -> None:
    folder = write_encoder(tmp_path / kind, kind)
    model = load_encoder(folder, BertSpec()).train()
    assert not any(isinstance(m, nn.Dropout) for m in model.modules())
    sites = [m for m in model.modules() if isinstance(m, Dropout)]
    ids = padded(list(word_pieces(folder, TEXTS)), model.config.pad_token_id)
    mask = (ids != model.config.pad_token_id).long()
    before = torch.get_rng_state()
    found = []
    for step in (0, 0, 1):
        set_dropout_keys(model, torch.arange(len(TEXTS)), step)
        found.append(model(input_ids=ids, attention_mask=mask).last_hidden_state)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    # The vector depends on every dropout: without its codes, each raises.
    for site in sites:
        codes, site.codes = site.codes, None
        with pytest.raises(RuntimeError, match="set_dropout_keys"):
            model(input_ids=ids, attention_mask=mask)
        site.codes = codes
    foreign = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = foreign(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        own = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    torch.testing.assert_close(own, expected, **TOLERANCE)


def test_a_frozen_encoder_is_no_part_of_the_model(sizes: InputSizes) -> None:
    frozen = build(BertSpec(fine_tune=False), replace(sizes, encoder=None))
    assert set(frozen.state_dict()) == {"classifier.weight", "classifier.bias"}
    trained = build(BertSpec(), sizes)
    assert any(n.startswith("text.encoder.") for n in trained.state_dict())
    assert not any("pooler" in n for n in trained.state_dict())


def test_an_encoder_in_half_precision_is_computed_in_full(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "tiny")
    AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    change_config(folder, dtype="float16")
    assert {p.dtype for p in load_encoder(folder, BertSpec()).parameters()} == {torch.float32}
    (vector,) = cls_vectors(folder, ["so"])
    assert vector.dtype == np.float32


@pytest.fixture
def fold(raw: Any, tmp_path: Path, encoder: Path) -> Callable[[Run], FoldData]:
    corpus, cache = raw.corpus, raw.write(tmp_path)
    folds = make_folds(corpus, FoldSpec())
    texts = [u.text for u in corpus.utterances]
    extras: dict[str, FoldInput] = {
        "pieces": Pieces(list(word_pieces(encoder, texts)), 0),
        "text_embedding": Vectors(joined(list(cls_vectors(encoder, texts)))),
    }

    def make(run: Run) -> FoldData:
        chosen = {extra.name: extras[extra.name] for extra in run.spec.model.extras}
        return FoldData(
            corpus, folds[run.fold - 1], run.spec.features, cache, chosen, encoder=encoder
        )

    return make


@pytest.mark.parametrize("fine_tune", [True, False])
def test_an_interrupted_run_goes_on_as_if_it_never_stopped(
    fine_tune: bool, fold: Callable[[Run], FoldData], tmp_path: Path
) -> None:
    training = TrainingSpec(learning_rate=3e-3, batch_size=5, max_epochs=3, patience=3)
    model = BertSpec(fine_tune=fine_tune)
    spec = RunSpec(corpus="five sessions", model=model, features=FeatureSpec(), training=training)
    run = Run(spec=spec, fold=2, seed=7)

    def results(**options: Any) -> FinishedRun:
        [found] = train([run], [fold(run)], device=torch.device("cpu"), **options)
        assert isinstance(found, FinishedRun)
        return found

    def interrupt(run: Run, epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise InterruptedError

    checkpoint = tmp_path / "state.pt"
    whole = results()
    with pytest.raises(InterruptedError):
        results(checkpoints=[Checkpoint(checkpoint, interval_s=0)], on_epoch=interrupt)
    assert checkpoint.exists()
    torch.manual_seed(1234)  # a new process does not go on with the old one's generator
    resumed = results(checkpoints=[Checkpoint(checkpoint, interval_s=0)])
    losses = [[e.train_loss for e in r.report.curve] for r in (whole, resumed)]
    assert losses[0] == losses[1]
    for part, predicted in whole.predictions.items():
        np.testing.assert_array_equal(
            predicted.probabilities, resumed.predictions[part].probabilities
        )
    kept = load(whole.weights)
    assert any(name.startswith("text.encoder.") for name in kept) == fine_tune


def test_the_configuration_says_what_it_reads() -> None:
    assert BertSpec(encoder="tiny@1").extras == (ExtraInput("pieces", "tiny@1"),)
    frozen = BertSpec(encoder="tiny@1", fine_tune=False)
    assert frozen.extras == (ExtraInput("text_embedding", "tiny@1"),)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": ""}, "encoder: expected minilm, a folder or a name"),
        ({"dropout": 1.0}, "dropout: expected a number at least 0 and below 1"),
        ({"finetune": True}, "unknown key finetune; did you mean fine_tune?"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        parse(BertSpec, values, "model")


def test_an_encoder_to_be_trained_must_be_given(sizes: InputSizes) -> None:
    with pytest.raises(ValueError, match="needs its folder"):
        build(BertSpec(), replace(sizes, encoder=None))
