"""What holds for every compared system, whatever it is made of."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch
from mlt_ray.models.dropout import Dropout, set_dropout_keys
from mlt_ray.models.li.network import Li
from mlt_ray.models.li.values import LiSpec
from mlt_ray.models.registry import SYSTEMS, build_model
from mlt_ray.models.system import System
from mlt_ray.models.xu.network import Xu
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.models.yoon.network import Yoon
from mlt_ray.models.yoon.values import YoonSpec
from mlt_ray.parsing import parse
from mlt_ray.spec import ModelSpec
from tests.made_up import SIZES, littered, made_up, padded, picked

YOON = YoonSpec(width=13)
XU = XuSpec(dense_width=19, width=7, num_heads=2)
LI = LiSpec(channels=7, width=14, recurrent_width=5)
SPECS = {
    "yoon-mdrea": YOON,
    "yoon-mdre": replace(YOON, variant="mdre"),
    "xu-lstm": XU,
    "xu-gru": replace(XU, cell="gru"),
    "li": LI,
    "li-other-kernels": replace(LI, first_kernel=3, next_kernel=4),
}
every_system = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)

FRAMES, WORDS = [13, 1, 7, 29, 5], [3, 7, 1, 2, 5]
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture
def batch() -> Batch:
    return made_up(FRAMES, WORDS)


def build(spec: ModelSpec) -> System:
    torch.manual_seed(5)
    return build_model(spec, SIZES).eval()


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch)


@every_system
def test_logits_are_one_a_class(spec: ModelSpec, batch: Batch) -> None:
    assert logits(build(spec), batch).shape == (5, 4)


@every_system
def test_a_system_is_built_from_its_name(spec: ModelSpec) -> None:
    entry = SYSTEMS[spec.system]
    assert parse(entry, {"system": spec.system}, "model") == entry()
    assert type(build(spec)) is {"yoon": Yoon, "xu": Xu, "li": Li}[spec.system]


@every_system
def test_padding_does_not_change_logits(spec: ModelSpec, batch: Batch) -> None:
    model = build(spec)
    torch.testing.assert_close(logits(model, padded(batch)), logits(model, batch), **TOLERANCE)


@every_system
def test_what_lies_in_padding_does_not_matter(spec: ModelSpec, batch: Batch) -> None:
    model = build(spec)
    other = littered(batch)
    assert not torch.equal(other.frames, batch.frames)
    torch.testing.assert_close(logits(model, other), logits(model, batch), **TOLERANCE)


@every_system
def test_neither_batch_size_nor_order_changes_logits(spec: ModelSpec, batch: Batch) -> None:
    model = build(spec)
    together = logits(model, batch)
    for order in ([0], [1], [2], [3], [4], [4, 2, 0], [3, 1, 4, 0, 2]):
        found = logits(model, picked(batch, order))
        torch.testing.assert_close(found, together[order], **TOLERANCE)


@every_system
def test_padding_and_batch_mates_do_not_change_gradients(spec: ModelSpec, batch: Batch) -> None:
    def gradients(given: Batch) -> list[Tensor]:
        model = build(spec).train()
        set_dropout_keys(model, given.utterances, 7)
        model.loss(given).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    expected = gradients(batch)
    for given in (padded(batch), littered(batch), picked(batch, [3, 1, 4, 0, 2])):
        found = gradients(given)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, **TOLERANCE)


@every_system
def test_utterances_tell_each_other_apart(spec: ModelSpec, batch: Batch) -> None:
    found = logits(build(spec), batch)
    distances = torch.cdist(found, found) + torch.eye(5)
    assert float(distances.min()) > 1e-3


@every_system
@pytest.mark.parametrize(("num_frames", "num_words"), [(1, 1), (1, 3), (2, 101), (3398, 67)])
def test_the_shortest_and_the_longest_utterance_work(
    spec: ModelSpec, num_frames: int, num_words: int
) -> None:
    model, batch = build(spec), made_up([num_frames], [num_words])
    found = model(batch)
    assert found.shape == (1, 4)
    assert bool(found.isfinite().all())
    model.loss(batch).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@every_system
def test_a_gradient_reaches_every_parameter(spec: ModelSpec, batch: Batch) -> None:
    model = build(spec).train()
    set_dropout_keys(model, batch.utterances, 0)
    model.loss(batch).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_system
def test_one_batch_can_be_learnt_by_heart(spec: ModelSpec) -> None:
    model = build(spec)  # without dropout
    batch = made_up([5, 2, 7, 13, 11, 6, 4], [3, 2, 5, 1, 2, 4, 3])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(200):
        optimiser.zero_grad()
        loss = model.loss(batch)
        if loss < 0.05:
            break
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05
    assert logits(model, batch).argmax(dim=1).tolist() == batch.labels.tolist()


@every_system
def test_two_steps_from_the_same_seed_give_the_same_bits(spec: ModelSpec, batch: Batch) -> None:
    def trained() -> list[Tensor]:
        model = build(spec).train()
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


@every_system
def test_dropout_is_counted_and_never_torch_s_own(spec: ModelSpec) -> None:
    model = build(spec)
    assert not any(isinstance(m, nn.Dropout) for m in model.modules())
    assert all(m.dropout == 0 for m in model.modules() if isinstance(m, nn.RNNBase))
    rates = sorted(m.p for m in model.modules() if isinstance(m, Dropout))
    expected = {"yoon": [0.3, 0.3, 0.7, 0.7], "xu": [0.0, 0.5, 0.5], "li": []}
    assert rates == expected[spec.system]


@every_system
def test_word_vectors_are_trained_and_saved(spec: ModelSpec) -> None:
    model = build(spec)
    (name,) = (n for n, _ in model.named_parameters() if n.endswith("words.vectors"))
    torch.testing.assert_close(model.state_dict()[name][:-1], SIZES.word_vectors)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (YoonSpec, {"width": 1}, "width: expected a number at least 2, got 1"),
        (YoonSpec, {"text_dropout": 1.0}, "text_dropout: expected a number at least 0 and below 1"),
        (XuSpec, {"dropout": -0.1}, "dropout: expected a number at least 0 and below 1"),
        (XuSpec, {"num_heads": 7}, "width: expected twice of it to be a multiple of num_heads"),
        (XuSpec, {"dense_width": 0}, "dense_width: expected a number at least 1, got 0"),
        (LiSpec, {"width": 7}, "width: expected an even number, got 7"),
        (LiSpec, {"next_kernel": 0}, "next_kernel: expected a number at least 1, got 0"),
    ],
)
def test_numbers_out_of_bounds_are_refused(
    kind: type[ModelSpec], values: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**values)  # type: ignore[call-arg]
