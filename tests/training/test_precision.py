"""Products of less precision: which, where, and how far the numbers move."""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlt_ray.errors import UserError
from mlt_ray.spec import ModelSpec
from mlt_ray.training.learner import Learner
from mlt_ray.training.packs.trainer import PackTrainer
from mlt_ray.training.precision import casting, check_precision, products
from tests.training.runs import CPU, MODEL, MakeData, assert_same, finish, run_of

WHO = ((1, 3), (3, 3), (1, 4))
BFLOAT16_ROUNDING = 2.0**-8


def test_bfloat16_products_are_those_of_rounded_factors() -> None:
    layer = nn.Linear(37, 11)
    x = torch.randn(5, 37, generator=torch.Generator().manual_seed(3))
    with casting("bfloat16", CPU):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    exact = layer(x).detach()
    rounded = nn.functional.linear(
        x.bfloat16().float(), layer.weight.bfloat16().float(), layer.bias
    )
    torch.testing.assert_close(found.float(), rounded, rtol=0.01, atol=0.01)
    difference = (found.detach().float() - exact).abs().max()
    assert 0 < float(difference) < 37 * BFLOAT16_ROUNDING


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_only_bfloat16_casts(precision: Any) -> None:
    with casting(precision, CPU):
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "products_are", "tf32"),
    [("float32", "highest", False), ("tf32", "high", True), ("bfloat16", "highest", False)],
)
def test_tf32_is_asked_of_products_and_convolutions_inside_the_block_alone(
    precision: Any, products_are: str, tf32: bool
) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with products(precision):
        assert torch.get_float32_matmul_precision() == products_are
        assert torch.backends.cudnn.allow_tf32 == tf32
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_a_cpu_has_no_tf32(data: MakeData) -> None:
    with pytest.raises(UserError, match="expected a GPU for tf32, found none; set float32 or"):
        finish([run_of(precision="tf32")], data)


@pytest.mark.parametrize("has_avx512", [False, True])
def test_an_lstm_in_bfloat16_needs_a_cpu_that_has_one(
    monkeypatch: pytest.MonkeyPatch, has_avx512: bool
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_avx512)
    check_precision("bfloat16", nn.Sequential(nn.GRU(3, 2)), CPU)
    check_precision("float32", nn.Sequential(nn.LSTM(3, 2)), CPU)
    check_precision("bfloat16", nn.Sequential(nn.LSTM(3, 2)), torch.device("cuda"))
    told = contextlib.nullcontext() if has_avx512 else pytest.raises(UserError, match="set float32")
    with told:
        check_precision("bfloat16", nn.Sequential(nn.LSTM(3, 2)), CPU)


@pytest.mark.parametrize(
    "model", [MODEL, replace(MODEL, text="concatenation"), replace(MODEL, inputs="audio")]
)
def test_bfloat16_moves_the_numbers_a_little(data: MakeData, model: ModelSpec) -> None:
    [exact] = finish([run_of(model=model, max_epochs=2)], data)
    [rounded] = finish([run_of(model=model, max_epochs=2, precision="bfloat16")], data)
    for a, b in zip(exact.report.curve, rounded.report.curve, strict=True):
        assert a.train_loss != b.train_loss
        assert a.train_loss == pytest.approx(b.train_loss, rel=0.05)
    difference = np.abs(
        exact.predictions["test"].probabilities - rounded.predictions["test"].probabilities
    )
    assert 0 < difference.max() < 0.05


def test_weights_moments_and_gradients_stay_float32(data: MakeData) -> None:
    learner = Learner(run := run_of(precision="bfloat16"), data(run), CPU)
    learner.step(learner.order()[0])
    optimiser, weights = learner.optimiser, list(learner.model.parameters())
    for weight, *moments in zip(weights, optimiser.means, optimiser.squares, strict=True):
        kept: list[Tensor | None] = [weight, weight.grad, *moments]
        assert {x.dtype for x in kept if x is not None} == {torch.float32}


def test_a_pack_in_bfloat16_equals_its_runs_alone_to_bfloat16s_rounding(data: MakeData) -> None:
    runs = [run_of(fold=f, seed=s, max_epochs=2, precision="bfloat16") for f, s in WHO]
    alone = [finish([run], data)[0] for run in runs]
    for one, other in zip(finish(runs, data), alone, strict=True):
        for a, b in zip(one.report.curve, other.report.curve, strict=True):
            assert a.train_loss == pytest.approx(b.train_loss, rel=0.02)
            assert a.dev_loss == pytest.approx(b.dev_loss, rel=0.02)


def test_a_pack_casts_as_its_runs_do(data: MakeData) -> None:
    runs = [run_of(fold=f, seed=s, precision="bfloat16") for f, s in WHO]
    packed = PackTrainer([Learner(run, data(run), CPU) for run in runs])
    exact = [run_of(fold=f, seed=s) for f, s in WHO]
    other = PackTrainer([Learner(run, data(run), CPU) for run in exact])
    for one, two in zip(packed.logits("dev"), other.logits("dev"), strict=True):
        assert one.dtype == torch.float32
        assert 0 < float((one - two).abs().max()) < 0.05


def test_bfloat16_gives_the_same_bits_again(data: MakeData) -> None:
    run = run_of(precision="bfloat16", max_epochs=2)
    assert_same(finish([run], data)[0], finish([run], data)[0])
