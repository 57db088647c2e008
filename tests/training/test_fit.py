"""Networks are trained by the loop, every other system by a function of its own."""

from typing import Any

import pytest

from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import SYSTEMS, is_network
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.training import classical, fit, loop


def run_of(model: ModelSpec) -> Run:
    return Run(spec=RunSpec(corpus="none", model=model), fold=1, seed=1)


NETWORK, OTHER = run_of(MultilevelSpec()), run_of(ClassicalSpec(text="tfidf"))


def test_every_system_without_a_module_has_a_fit_of_its_own() -> None:
    without = {name for name in SYSTEMS if not is_network(ModelSpec(system=name))}
    # A benchmark adds a system of its own.
    ours = {name for name, by in fit.FITTERS.items() if by.__module__.startswith("mlt_ray.")}
    assert ours == without
    assert fit.FITTERS["classical"] is classical.train


@pytest.mark.parametrize(("run", "by"), [(NETWORK, "loop"), (OTHER, "classical")])
def test_the_system_chooses_who_fits(run: Run, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any, Any, Any]] = []

    def spy(name: str) -> Any:
        def train(runs: Any, data: Any, **options: Any) -> list[Any]:
            asked.append((name, runs, data, options))
            return ["what it gives"]

        return train

    monkeypatch.setattr(loop, "train", spy("loop"))
    monkeypatch.setitem(fit.FITTERS, "classical", spy("classical"))
    found = fit.fit_runs([run], ["its data"], device="any", checkpoints=[None])
    assert found == ["what it gives"]
    assert asked == [(by, [run], ["its data"], {"device": "any", "checkpoints": [None]})]


@pytest.mark.parametrize("runs", [[], [NETWORK, OTHER]])
def test_runs_of_different_systems_are_no_pack(runs: list[Run]) -> None:
    with pytest.raises(ValueError, match="share one system"):
        fit.fit_runs(runs, [None] * len(runs))  # type: ignore[list-item]
