"""What is called from Python: its names are kept, and mistakes are told before anything starts."""

import inspect
import signal
from pathlib import Path
from typing import Any

import pytest

import mlt_ray
from mlt_ray.errors import UserError

PACKAGE = Path(mlt_ray.__file__).parent
STUDY = {
    "name": "mine",
    "seeds": (1,),
    "rows": ({"name": "a", "model": {"system": "multilevel"}},),
}


def test_names_and_arguments_stay_what_notebooks_use() -> None:
    assert sorted(mlt_ray.__all__) == [
        *("Results", "RunsFailed", "UserError", "evaluate", "load", "results", "run"),
    ]
    assert set(mlt_ray.__all__) <= set(dir(mlt_ray))
    parameters = inspect.signature(mlt_ray.run).parameters
    assert [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        *("study", "corpus", "store"),
    ]
    assert {p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY} == {
        *(
            "rows",
            "folds",
            "seeds",
            "changes",
            "audio",
            "texts",
            "glove",
            "encoder",
            "speech_encoder",
        ),
        *("unread_texts", "tracking_uri", "address", "profile", "resources", "progress"),
    }
    assert list(inspect.signature(mlt_ray.results).parameters) == ["store", "study"]
    assert list(inspect.signature(mlt_ray.evaluate).parameters) == [
        *("rows", "corpus", "store", "labels", "audio", "texts", "leave_out_heard"),
        *("unread_texts", "glove", "model_file", "progress"),
    ]
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        _ = mlt_ray.runs


def test_no_module_of_the_package_hides_such_a_name() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert not modules & set(mlt_ray.__all__)


@pytest.mark.parametrize(
    ("study", "more", "told"),
    [
        ("tabel1", {}, r"unknown study tabel1; did you mean table1\?"),
        ({"rows": []}, {}, "study: expected a name beside its rows, got None"),
        (STUDY | {"name": "table1"}, {}, "expected a name of its own, got that of the shipped"),
        (STUDY | {"name": "a/b"}, {}, "study: expected a name without slashes, got 'a/b'"),
        (STUDY | {"title": {1}}, {}, "study: expected values as YAML has them, got: Object of"),
        (STUDY | {"base": {"modle": {}}}, {}, r"mine\.base: unknown key modle"),
        (STUDY, {"rows": "b"}, "unknown row b"),
        (STUDY, {"changes": {"training.epochs": 3}}, "unknown key epochs"),
        (STUDY, {"changes": {"training.max_epochs": {3}}}, "training.max_epochs: expected values"),
        (STUDY, {"resources": {"workesr": 3}}, "resources: unknown key workesr; did you mean"),
        (
            STUDY,
            {"resources": {"workers": 0}},
            "resources.workers: expected a number from 1 to 10000",
        ),
        (STUDY, {"profile": "lapdog"}, "unknown profile lapdog"),
        (STUDY, {}, "nowhere: .*no such folder"),
        ([STUDY, "table1"], {}, "nowhere: .*no such folder"),
    ],
)
def test_mistakes_are_told_as_the_command_tells_them(
    study: Any, more: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        mlt_ray.run(study, tmp_path / "nowhere", tmp_path / "store", progress=False, **more)


def test_resources_replace_those_of_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlt_ray.workflows import notebook

    class Asked(Exception):
        pass

    def ask(request: Any, console: Any) -> None:
        raise Asked(request)

    monkeypatch.setattr(notebook, "run_studies", ask)
    profile = tmp_path / "mine.yaml"
    profile.write_text("address: auto\nresources: {concurrency: 3, pack: 2}\n")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Asked) as asked:
        mlt_ray.run(STUDY, tmp_path, profile=profile, resources={"pack": 5}, folds=range(1, 3))
    [request] = asked.value.args
    found = request.places.resources
    assert (found.concurrency, found.pack, request.places.address) == (3, 5, "auto")
    assert request.folds == [1, 2]
    assert signal.getsignal(signal.SIGTERM) is before


def test_results_of_a_study_that_was_never_run_are_told_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected runs of study table1, found those of: none"):
        mlt_ray.results(tmp_path, "table1")
