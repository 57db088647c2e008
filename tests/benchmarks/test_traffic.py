"""The counter of launches and bytes, compared with counts by hand; limits for a training step."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.benchmarks.traffic import LIST, Traffic, main

FLOAT = 4


def traffic(function: object, *given: object) -> tuple[int, int]:
    """Launches and bytes of a function."""
    with Traffic() as counted, torch.no_grad():
        function(*given)  # type: ignore[operator]
    return sum(counted.launches.values()), sum(counted.bytes.values())


def test_an_operation_reads_what_it_is_given_and_writes_what_it_returns() -> None:
    product = traffic(torch.mm, torch.ones(2, 3), torch.ones(3, 5))
    assert product == (1, (6 + 15 + 10) * FLOAT)


def test_what_is_changed_in_place_is_read_and_written() -> None:
    x, y = torch.ones(7), torch.ones(7)
    assert traffic(x.add_, y) == (1, 3 * 7 * FLOAT)
    assert traffic(x.copy_, y) == (1, 2 * 7 * FLOAT)
    assert traffic(x.fill_, 2.0) == (1, 7 * FLOAT)


def test_views_and_memory_that_is_set_aside_cost_nothing() -> None:
    x = torch.ones(4, 6)
    assert traffic(lambda: x.view(3, 8).t()[1:].unsqueeze(0)) == (0, 0)
    assert traffic(torch.empty_like, x) == (0, 0)


def test_a_broadcast_tensor_is_as_large_as_it_is_stored() -> None:
    wide = torch.ones(5, 1).expand(5, 1000)
    assert traffic(torch.add, wide, torch.ones(5, 1000)) == (1, (5 + 5000 + 5000) * FLOAT)


def test_of_a_table_what_is_looked_up_is_read() -> None:
    table, ids = torch.ones(1000, 3), torch.tensor([5, 7])
    looked_up = 2 * 3 * FLOAT
    assert traffic(torch.embedding, table, ids) == (1, 2 * looked_up + 2 * 8)
    assert traffic(lambda: table[ids]) == (1, 2 * looked_up + 2 * 8)


def test_a_long_list_takes_several_launches() -> None:
    some = [torch.ones(3) for _ in range(2 * LIST + 1)]
    assert traffic(torch._foreach_add_, some, 1) == (3, 2 * len(some) * 3 * FLOAT)


def test_a_backward_pass_counts() -> None:
    x = torch.ones(3, requires_grad=True)

    def step() -> Tensor:
        with torch.enable_grad():
            [gradient] = torch.autograd.grad((x * x).sum(), x)
        return gradient

    with Traffic() as counted:
        step()
    assert counted.launches["mul"] == 3


@pytest.mark.slow
def test_a_step_costs_no_more_than_it_did(tmp_path: Path) -> None:
    """Counts, not times: they are the same on every machine."""
    file = tmp_path / "traffic.json"
    assert main(["--packs", "1,15", "--json", str(file)]) == 0
    one, pack = json.loads(file.read_text())["steps"]
    assert one["runs"] == 1
    assert one["mb"] == one["mb_alone"]
    assert one["launches"] <= 500
    assert one["mb"] <= 410
    assert pack["runs"] == 15
    assert pack["launches"] <= 700
    assert pack["mb"] <= 1.15 * pack["mb_alone"]


@pytest.mark.parametrize("packs", ["none", "0,3"])
def test_a_mistake_in_the_packs_is_one_line(packs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--packs", packs])
    assert ended.value.code == 2
    assert "--packs: expected numbers" in capsys.readouterr().err
