"""What of an encoder is trained; adapters beside the formula of their paper."""

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.models.dropout import Dropout
from mlt_ray.models.fine_tuning import LORA_SCALE, choose_trained, use_keyed_dropout

WIDTH, RANK, NUM_BLOCKS = 7, 3, 5


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.key(self.drop(self.query(x)).tanh())


def encoder() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*(Block() for _ in range(NUM_BLOCKS)))


def choose(model: nn.Sequential, how: str | bool, last_n: int = 2) -> None:
    choose_trained(
        model,
        how,  # type: ignore[arg-type]
        blocks=list(model),
        last_n=last_n,
        lora_rank=RANK,
        lora_modules=("query",),
    )


def trained(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("how", [True, "all"])
def test_all_of_it_is_trained(how: str | bool) -> None:
    model = encoder()
    choose(model, how)
    assert trained(model) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("last_n", [1, 2, NUM_BLOCKS])
def test_the_last_blocks_are_trained(last_n: int) -> None:
    model = encoder()
    choose(model, "last_n", last_n)
    assert {int(name.split(".")[0]) for name in trained(model)} == set(
        range(NUM_BLOCKS - last_n, NUM_BLOCKS)
    )


def test_more_blocks_than_there_are_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="last_n: expected at most the 5 blocks, got 6"):
        choose(encoder(), "last_n", 6)


def test_an_adapter_is_what_its_paper_says_it_is() -> None:
    """h = W x + (alpha / r) B A x (Hu et al., 2022, section 4.1), with B = 0 at first."""
    plain, adapted = encoder().eval(), encoder().eval()
    choose(adapted, "lora")
    x = torch.randn(2, 11, WIDTH)
    torch.testing.assert_close(adapted(x), plain(x))
    assert trained(adapted) == {
        f"{n}.query.lora_{factor}.default.weight" for n in range(NUM_BLOCKS) for factor in "AB"
    }
    factors = dict(adapted.named_parameters())
    for n, block in enumerate(plain):
        down, up = (factors[f"{n}.query.lora_{f}.default.weight"] for f in "AB")
        assert (down.shape, up.shape) == ((RANK, WIDTH), (WIDTH, RANK))
        nn.init.normal_(up)
        with torch.no_grad():
            block.query.weight += LORA_SCALE * up @ down
    torch.testing.assert_close(adapted(x), plain(x), rtol=0, atol=1e-5)


def test_adapters_begin_as_the_seed_says() -> None:
    first, second, other = encoder(), encoder(), encoder()
    for seed, model in ((3, first), (3, second), (4, other)):
        torch.manual_seed(seed)
        choose(model, "lora")
    name = "0.query.lora_A.default.weight"
    assert torch.equal(first.get_parameter(name), second.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


def test_an_encoder_without_layers_for_adapters_says_what_it_can() -> None:
    model = encoder()
    with pytest.raises(ValueError, match=r"fine_tune: expected last_n or all .*, got lora"):
        choose_trained(model, "lora", blocks=list(model), last_n=2, lora_rank=RANK, lora_modules=())


def test_our_dropout_takes_the_place_of_torch_s() -> None:
    model = encoder()
    use_keyed_dropout(model)
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
    assert [m.p for m in model.modules() if isinstance(m, Dropout)] == [0.3] * NUM_BLOCKS
