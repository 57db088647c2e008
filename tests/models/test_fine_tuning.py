"""What of an encoder is trained; adapters beside the formula of their paper."""

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.errors import UserError
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.fine_tuning import (
    LORA_SCALE,
    train_adapters,
    train_last,
    use_keyed_dropout,
)

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


def trained(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("last_n", [1, 2, NUM_BLOCKS])
def test_the_last_blocks_are_trained(last_n: int) -> None:
    model = encoder()
    train_last(model, list(model), last_n)
    assert {int(name.split(".")[0]) for name in trained(model)} == set(
        range(NUM_BLOCKS - last_n, NUM_BLOCKS)
    )


def test_more_blocks_than_there_are_cannot_be_trained() -> None:
    model = encoder()
    with pytest.raises(UserError, match=r"last_n: expected at most the 5 blocks of .*, got 6"):
        train_last(model, list(model), 6)


def test_an_adapter_is_what_its_paper_says_it_is() -> None:
    """h = W x + (alpha / r) B A x (Hu et al., 2022, section 4.1), with B = 0 at first."""
    plain, adapted = encoder().eval(), encoder().eval()
    train_adapters(adapted, ["query"], RANK)
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
        train_adapters(model, ["query"], RANK)
    name = "0.query.lora_A.default.weight"
    assert torch.equal(first.get_parameter(name), second.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


def test_an_encoder_without_layers_for_adapters_says_what_it_can() -> None:
    with pytest.raises(UserError, match=r"fine_tune: expected last_n or all .*, got lora"):
        train_adapters(encoder(), [], RANK)


def test_our_dropout_takes_the_place_of_torch_s() -> None:
    model = encoder()
    use_keyed_dropout(model)
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
    assert [m.p for m in model.modules() if isinstance(m, Dropout)] == [0.3] * NUM_BLOCKS


def test_a_table_that_all_texts_share_is_not_dropped() -> None:
    """Keyed dropout has a key for each text; DeBERTa's relative positions belong to none."""

    class Disentangled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout, self.pos_dropout = nn.Dropout(0.3), nn.Dropout(0.3)

    model = Disentangled()
    use_keyed_dropout(model)
    assert isinstance(model.dropout, Dropout)
    assert isinstance(model.pos_dropout, nn.Identity)
