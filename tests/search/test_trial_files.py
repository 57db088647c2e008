"""Trials of a search behind a URI: nothing that was proposed or told is lost, on any machine."""

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mlt_ray.errors import StoreSilent, UserError
from mlt_ray.search.cross_validation import CrossValidationSearch
from mlt_ray.search.trial_files import TrialFiles, as_values, from_values
from mlt_ray.storage import outage
from mlt_ray.storage.mirror import Mirror
from mlt_ray.storage.remote import Remote
from mlt_ray.storage.store import Store
from tests.search.fake_tune import FakeTune
from tests.search.test_cross_validation import one, open_search, quality, space_of

STUDY = "mini-1"


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(f"file://{tmp_path / 'bucket'}")


@pytest.fixture
def mirror(remote: Remote, tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror", remote)


@pytest.fixture
def open_again(mirror: Mirror, tmp_path: Path) -> Callable[..., CrossValidationSearch]:
    """Function that opens the search as a machine does that has nothing of it but the bucket."""

    def open_on_a_machine(**search: object) -> CrossValidationSearch:
        storage = TrialFiles(mirror)
        return open_search(space_of(**search), Store(tmp_path / "store"), storage)

    return open_on_a_machine


def files(remote: Remote) -> list[dict]:
    """The content of all files, in the order of the trials."""
    names = sorted(remote.files(f"trials/{STUDY}"))
    return [json.loads(remote.read(f"trials/{STUDY}/{name}") or b"") for name in names]


def frozen(search: CrossValidationSearch) -> list[dict]:
    return [as_values(trial) for trial in search.study.trials]


def test_a_trial_reads_back_as_it_was_written() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    trial = study.ask()
    trial.suggest_float("a", 1e-5, 0.1 + 0.2, log=True)
    trial.suggest_int("b", 1, 9, step=2)
    trial.suggest_categorical("c", [None, True, "x", 1, 0.5])
    trial.set_user_attr("state", "complete")
    study.tell(trial, [0.1 + 0.2, 7])
    [told] = study.trials
    read = from_values(json.loads(json.dumps(as_values(told))))
    read.number, read._trial_id = told.number, told._trial_id
    assert read == told


def test_a_configuration_is_in_the_store_before_its_runs_are_given_out(
    remote: Remote, open_again: Callable[..., CrossValidationSearch]
) -> None:
    search = open_again()
    for _ in range(12):
        [run] = search.next(one) or ()
        spec = run.spec.as_dict()["model"]
        found = [f["params"] for f in files(remote)]
        assert any(all(spec[k.partition(".")[2]] == v for k, v in f.items()) for f in found)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "grid"])
def test_a_search_that_is_killed_again_and_again_ends_like_an_undisturbed_one(
    sampler: str, tmp_path: Path, open_again: Callable[..., CrossValidationSearch]
) -> None:
    more = {"sampler": sampler, "folds": [1, 2], "pruner": "none", "sampler_seed": 1}
    whole = open_search(
        space_of(**more), Store(tmp_path / "other"), optuna.storages.InMemoryStorage()
    )
    FakeTune(Store(tmp_path / "other"), quality).drive(whole)
    tune = FakeTune(Store(tmp_path / "store"), quality)
    for most in range(1, 16, 2):
        tune.drive(open_again(**more), most=most)
    search = open_again(**more)
    tune.drive(search)
    assert [(c.values, c.means) for c in search.configurations] == [
        (c.values, c.means) for c in whole.configurations
    ]
    assert len(tune.trained) == len(set(tune.trained)) == 16


def test_two_machines_in_turn_lose_none_of_each_other_s_trials(
    remote: Remote, tmp_path: Path, open_again: Callable[..., CrossValidationSearch]
) -> None:
    tune = FakeTune(Store(tmp_path / "store"), quality)
    a = open_again(pruner="none")
    tune.drive(a, most=13)  # killed
    of_a = frozen(a)
    b = open_again(pruner="none")
    tune.drive(b, most=27)
    again = open_again(pruner="none")
    assert frozen(again)[: len(of_a) - 1] == of_a[:-1]
    assert [t["params"] for t in frozen(again)] == [t["params"] for t in frozen(b)]
    # `a` comes back, say a laptop that slept, and knows nothing of the trials of `b`.
    known, before = len(a.study.trials), files(remote)
    while len(a.configurations) < 5:
        assert a.next(one)
    after = files(remote)
    assert len(after) == len(before) + len(a.study.trials) - known > len(before)
    assert all(trial in after for trial in before)
    last = open_again(pruner="none")
    tune.drive(last)
    assert {t["state"] for t in files(remote)} == {"COMPLETE"}
    assert len(tune.trained) == len(set(tune.trained))


def test_a_result_that_a_killed_search_had_not_told_is_learnt_from_the_reports(
    remote: Remote, tmp_path: Path, open_again: Callable[..., CrossValidationSearch]
) -> None:
    told = open_again(pruner="none", trials=1)
    FakeTune(Store(tmp_path / "store"), quality).drive(told)
    [name] = remote.files(f"trials/{STUDY}")
    values = {**files(remote)[0], "state": "RUNNING", "values": None, "intermediate_values": {}}
    values["times"]["complete"] = None
    remote.write(f"trials/{STUDY}/{name}", json.dumps(values).encode())
    again = open_again(pruner="none", trials=1)
    assert again.exhausted
    [trial] = again.study.trials
    assert (trial.state, trial.values) == (TrialState.COMPLETE, told.study.trials[0].values)
    assert files(remote)[0]["state"] == "COMPLETE"


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"state": "DONE"}'])
def test_a_file_that_holds_no_trial_is_named_in_one_line(
    content: bytes, remote: Remote, open_again: Callable[..., CrossValidationSearch]
) -> None:
    remote.write(f"trials/{STUDY}/000000-x.json", content)
    with pytest.raises(UserError, match=r"trials/mini-1/000000-x\.json: expected a trial .*delete"):
        open_again()


def test_an_outage_is_waited_for(
    remote: Remote, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "FIRST_PAUSE_S", 0.01)
    original, failures = Remote.write, iter([StoreSilent("gone"), StoreSilent("gone")])

    def write(self: Remote, name: str, content: bytes) -> None:
        if error := next(failures, None):
            raise error
        original(self, name, content)

    monkeypatch.setattr(Remote, "write", write)
    study = optuna.create_study(storage=TrialFiles(mirror), study_name=STUDY)
    study.tell(study.ask({"a": optuna.distributions.IntDistribution(1, 3)}), 0.5)
    assert [f["values"] for f in files(remote)] == [[0.5]]
    assert next(failures, None) is None
