"""Workers train from the store alone, with what the runs were planned with."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlt_ray.errors import StoreSilent, UserError
from mlt_ray.labels import FOUR
from mlt_ray.spec import FoldSpec
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.mirror import CACHE_VARIABLE
from mlt_ray.storage.remote import Remote
from mlt_ray.storage.store import Store
from mlt_ray.training import from_store
from mlt_ray.training.from_store import train_from_store
from mlt_ray.training.group import ALONE
from tests.training.runs import run_of


def test_a_machine_with_another_version_trains_nothing(tmp_path: Path) -> None:
    run = run_of()
    training = replace(run.spec.training, libraries="numpy 0.1, torch 9.9")
    other = replace(run, spec=replace(run.spec, training=training))
    with pytest.raises(UserError, match=r"expected numpy 0\.1, with which the run was planned"):
        train_from_store(
            [other],
            Store(tmp_path),
            on_epoch=lambda *a: None,
            tell=lambda *a: None,
            stop=lambda run: False,
        )


def test_in_an_outage_training_goes_on_and_a_later_checkpoint_is_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mirror"))
    store, now, tries = Store(f"local://{tmp_path}/there"), [1000.0], []
    original = Remote.write

    def silent(*_: object) -> None:
        tries.append(now[0])
        raise StoreSilent("gone")

    monkeypatch.setattr(from_store.time, "monotonic", lambda: now[0])
    run = run_of()
    checkpoint = from_store._checkpoint(
        run, store, 0.0, ALONE, tell=lambda *a: None, check=lambda run: None
    )
    write_bytes(checkpoint.path, b"state")
    monkeypatch.setattr(Remote, "write", silent)
    for now[0] in (1000.0, 1001.0, 1014.0, 1016.0):
        checkpoint.written(checkpoint.path)
    assert tries == [1000.0, 1016.0]
    monkeypatch.setattr(Remote, "write", original)
    now[0] = 1100.0
    checkpoint.written(checkpoint.path)
    assert (tmp_path / "there" / "checkpoints" / f"{run.digest}.pt").read_bytes() == b"state"


def test_a_corpus_that_is_gone_from_the_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected the corpus .*, found none"):
        from_store._folds("c0ffee", FOUR, FoldSpec(), str(tmp_path))
