"""Tests that every network must pass. A system's own test file subclasses `SystemChecks`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.dropout import Dropout, set_dropout_keys
from mlt_ray.models.registry import SYSTEMS, build_model
from mlt_ray.models.system import System
from mlt_ray.parsing import parse
from mlt_ray.spec import ModelSpec
from tests.models.batches import littered, padded, picked
from tests.models.graphs import traced

MakeBatch = Callable[..., Batch]

FRAMES, WORDS = [13, 1, 7, 29, 5], [3, 7, 1, 2, 5]
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def build(spec: ModelSpec, sizes: InputSizes) -> System:
    """The network of the configuration in evaluation mode, with the same weights at every call."""
    torch.manual_seed(5)
    return build_model(spec, sizes).eval()


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    """(B, 4) logits without a gradient."""
    return model(batch)


class SystemChecks:
    """Base of the class ``Test<System>`` in ``tests/models/test_<system>.py``.

    A subclass sets `network`, the class that the registry must build, and `specs`, a mapping of
    small configurations by name (a constant of its file); every test runs with each of them. It
    implements `dropout_rates`. Batches come from the fixtures `sizes` and `make_batch`, which a
    test file overrides if its system reads other inputs.
    """

    network: ClassVar[type[System]]
    specs: ClassVar[Mapping[str, ModelSpec]]

    lengths: ClassVar[Sequence[tuple[int, int]]] = ((1, 1), (1, 3), (2, 101), (3398, 67))
    """Frames and words of the shortest and the longest utterances that must work."""

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        """Learning rate and most steps with which the network must learn one batch by heart."""
        return 3e-2, 200

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        """The rates of all `Dropout` modules of the network, in rising order."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", self.specs.values(), ids=self.specs)
        if "num_frames" in metafunc.fixturenames:
            metafunc.parametrize(("num_frames", "num_words"), self.lengths)

    @pytest.fixture
    def batch(self, make_batch: MakeBatch) -> Batch:
        return make_batch(FRAMES, WORDS)

    def test_logits_are_one_a_class(self, spec: ModelSpec, sizes: InputSizes, batch: Batch) -> None:
        assert logits(build(spec, sizes), batch).shape == (5, 4)

    def test_a_system_is_built_from_its_name(self, spec: ModelSpec, sizes: InputSizes) -> None:
        entry = SYSTEMS[spec.system]
        assert parse(entry, {"system": spec.system}, "model") == entry()
        assert type(build(spec, sizes)) is self.network

    def test_padding_does_not_change_logits(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        model = build(spec, sizes)
        torch.testing.assert_close(logits(model, padded(batch)), logits(model, batch), **TOLERANCE)

    def test_what_lies_in_padding_does_not_matter(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        model = build(spec, sizes)
        other = littered(batch)
        assert not torch.equal(other.frames, batch.frames)
        torch.testing.assert_close(logits(model, other), logits(model, batch), **TOLERANCE)

    def test_neither_batch_size_nor_order_changes_logits(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        model = build(spec, sizes)
        together = logits(model, batch)
        for order in ([0], [1], [2], [3], [4], [4, 2, 0], [3, 1, 4, 0, 2]):
            found = logits(model, picked(batch, order))
            torch.testing.assert_close(found, together[order], **TOLERANCE)

    def test_padding_and_batch_mates_do_not_change_gradients(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        def gradients(given: Batch) -> list[Tensor]:
            model = build(spec, sizes).train()
            set_dropout_keys(model, given.utterances, 7)
            model.loss(given).backward()
            return [p.grad for p in model.parameters() if p.grad is not None]

        expected = gradients(batch)
        for given in (padded(batch), littered(batch), picked(batch, [3, 1, 4, 0, 2])):
            found = gradients(given)
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, **TOLERANCE)

    def test_an_utterance_s_loss_counts_as_often_as_its_weight(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        def loss_and_gradients(given: Batch) -> list[Tensor]:
            model = build(spec, sizes)
            loss = model.loss(given)
            loss.backward()
            return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

        weights = torch.tensor([0.25, 3.0, 1.0, 0.0, 0.5])
        found = loss_and_gradients(replace(batch, weights=weights))
        alone = [loss_and_gradients(picked(batch, [n])) for n in range(5)]
        for value, *each in zip(found, *alone, strict=True):
            expected = sum(w * x for w, x in zip(weights, each, strict=True)) / 5
            torch.testing.assert_close(value, expected, **TOLERANCE)

    def test_utterances_tell_each_other_apart(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        found = logits(build(spec, sizes), batch)
        distances = torch.cdist(found, found) + torch.eye(5)
        assert float(distances.min()) > 1e-3

    def test_the_shortest_and_the_longest_utterance_work(
        self,
        spec: ModelSpec,
        sizes: InputSizes,
        make_batch: MakeBatch,
        num_frames: int,
        num_words: int,
    ) -> None:
        model, batch = build(spec, sizes), make_batch([num_frames], [num_words])
        found = model(batch)
        assert found.shape == (1, 4)
        assert bool(found.isfinite().all())
        model.loss(batch).backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())

    def test_a_gradient_reaches_every_parameter(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        model = build(spec, sizes).train()
        set_dropout_keys(model, batch.utterances, 0)
        model.loss(batch).backward()
        without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == []

    def test_one_batch_can_be_learnt_by_heart(
        self, spec: ModelSpec, sizes: InputSizes, make_batch: MakeBatch
    ) -> None:
        model = build(spec, sizes)  # in evaluation mode, so without dropout
        batch = make_batch([5, 2, 7, 13, 11, 6, 4], [3, 2, 5, 1, 2, 4, 3])
        learning_rate, num_steps = self.by_heart(spec)
        optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
        for _ in range(num_steps):
            optimiser.zero_grad()
            loss = model.loss(batch)
            if loss < 0.05:
                break
            loss.backward()
            optimiser.step()
        assert float(loss.detach()) < 0.05
        assert logits(model, batch).argmax(dim=1).tolist() == batch.labels.tolist()

    def test_two_steps_from_the_same_seed_give_the_same_bits(
        self, spec: ModelSpec, sizes: InputSizes, batch: Batch
    ) -> None:
        def trained() -> list[Tensor]:
            model = build(spec, sizes).train()
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
            for number in range(2):
                set_dropout_keys(model, batch.utterances, number)
                optimiser.zero_grad()
                model.loss(batch).backward()
                optimiser.step()
            return list(model.state_dict().values())

        torch.use_deterministic_algorithms(True)
        try:
            assert all(torch.equal(a, b) for a, b in zip(trained(), trained(), strict=True))
        finally:
            torch.use_deterministic_algorithms(False)

    def test_onnx_gives_the_same_for_batches_of_other_sizes_than_the_traced_one(
        self, spec: ModelSpec, sizes: InputSizes, make_batch: MakeBatch, tmp_path: Path
    ) -> None:
        model = build(spec, sizes)
        run = traced(model, make_batch([3, 37, 23], [5, 2, 1]), tmp_path / "model.onnx")
        for shape in ((FRAMES, WORDS), ([1], [1]), ([2, 401], [101, 3])):
            batch = make_batch(*shape)
            expected = logits(model, batch)
            for given in (batch, padded(batch), littered(batch)):
                torch.testing.assert_close(run(given), expected, **TOLERANCE)

    def test_dropout_is_counted_and_never_torch_s_own(
        self, spec: ModelSpec, sizes: InputSizes
    ) -> None:
        model = build(spec, sizes)
        assert not any(isinstance(m, nn.Dropout) for m in model.modules())
        assert all(m.dropout == 0 for m in model.modules() if isinstance(m, nn.RNNBase))
        rates = sorted(m.p for m in model.modules() if isinstance(m, Dropout))
        assert rates == self.dropout_rates(spec)


class TrainedWordVectors:
    """A further test, for systems that train the given word vectors."""

    def test_word_vectors_are_trained_and_saved(self, spec: ModelSpec, sizes: InputSizes) -> None:
        model = build(spec, sizes)
        (name,) = (n for n, _ in model.named_parameters() if n.endswith("words.vectors"))
        torch.testing.assert_close(model.state_dict()[name][:-1], sizes.word_vectors)
