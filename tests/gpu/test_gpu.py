"""The checks of the kit, as tests for a machine with a GPU."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mlt_ray.spec import Precision
from tests.gpu import encoders, packs, systems
from tests.gpu.findings import Outcome
from tests.gpu.inputs import prepare
from tests.gpu.setting import Setting

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="NOTHING OF THIS RAN ON A GPU: torch finds none. On a machine with one: "
    "pytest tests/gpu, or, with torch alone, python -m tests.gpu (tests/gpu/README.md)",
)


@pytest.fixture(scope="session")
def setting() -> Iterator[Setting]:
    with tempfile.TemporaryDirectory() as folder:
        inputs, room = Path(folder) / "inputs", Path(folder) / "room"
        prepare(inputs)
        yield Setting(inputs, room, torch.device("cuda"), quick=False)


def assert_holds(outcome: Outcome) -> None:
    assert outcome.ok, f"{dict(outcome.figures)}, tolerance {outcome.tolerance}"


@pytest.mark.parametrize("name", systems.row_names())
@pytest.mark.parametrize("aspect", systems.CHECKS)
def test_a_system_on_a_gpu(setting: Setting, aspect: str, name: str) -> None:
    if aspect == systems.RESUMED and name not in systems.rows_to_resume():
        pytest.skip("one row of each system is resumed")
    assert_holds(systems.CHECKS[aspect](setting, systems.run_of(setting, name)))


@pytest.mark.parametrize("name", systems.row_names())
@pytest.mark.parametrize("precision", systems.LESS_PRECISION)
def test_a_system_in_less_precision(setting: Setting, precision: Precision, name: str) -> None:
    assert_holds(systems.less_precise(setting, systems.run_of(setting, name), precision))


def test_a_text_encoder_on_a_gpu(setting: Setting) -> None:
    assert_holds(systems.text_encoder(setting))


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_a_speech_encoder_on_a_gpu(setting: Setting, kind: str) -> None:
    assert_holds(encoders.embeds_as_on_a_cpu(setting, kind))


@pytest.mark.parametrize("name", encoders.TAILS)
@pytest.mark.parametrize("aspect", encoders.CHECKS)
def test_a_speech_encoder_is_trained_on_a_gpu(setting: Setting, aspect: str, name: str) -> None:
    if encoders.needs_peft(name):
        pytest.importorskip("peft")
    assert_holds(encoders.CHECKS[aspect](setting, encoders.small_tail(setting, name)))


@pytest.mark.parametrize("name", packs.row_names())
@pytest.mark.parametrize("aspect", packs.CHECKS)
def test_a_pack_on_a_gpu(setting: Setting, aspect: str, name: str) -> None:
    assert_holds(packs.CHECKS[aspect](setting, name))
