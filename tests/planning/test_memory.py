"""What runs take in memory is estimated, compared with what there is, and refused in one line."""

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.corpus.labelling import select
from mlt_ray.errors import UserError
from mlt_ray.planning import workspace
from mlt_ray.planning.contents import Pretrained
from mlt_ray.planning.memory.estimate import memory_of
from mlt_ray.planning.memory.needs import (
    COMMAND_BYTES,
    GPU_PROCESS_BYTES,
    PACK_BYTES,
    PROCESS_BYTES,
    UNLESS,
    Memory,
    Need,
    check_memory,
    text,
)
from mlt_ray.planning.plan import spec_of
from mlt_ray.planning.resources import Node, Resources
from mlt_ray.spec import RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row, load_study, parse_study
from tests.benchmarks.inputs import write_manifest
from tests.benchmarks.memory import Case, compare
from tests.noise_corpus import noise_corpus

GIB = 2**30
DOCUMENTED = Path(__file__).parents[2] / "docs/own_model"
NAME = "this machine has"


def row_of(model: dict[str, Any], training: dict[str, Any] | None = None) -> Row:
    values = {"name": "one", "model": {"system": "multilevel", **model}}
    return parse_study("mine", {"rows": [{**values, "training": training or {}}]}).rows[0]


def memory(row: Row, corpus: Any) -> Memory | None:
    return memory_of(spec_of(row, corpus), select(corpus, row.labels), Pretrained.load(None))


def need(run_gib: float, num_runs: int, name: str = "one", **model: Any) -> Need:
    run = int(run_gib * GIB)
    taken = Memory(inputs=0, alone=run, in_a_pack=2 * run, run_beside_gpu=run // 4)
    return Need(name, spec_with(**model), taken, num_runs)


def spec_with(**model: Any) -> RunSpec:
    return RunSpec(corpus="c", model=row_of(model).model)


def test_more_takes_more(raw: Any) -> None:
    plain = memory(row_of({}), raw.corpus)
    assert plain is not None
    for model, training in (
        ({"width": 512}, {}),
        ({"prenet_layers": 9}, {}),
        ({}, {"batch_size": 8}),
        ({}, {"batch_seconds": 20}),
    ):
        more = memory(row_of(model, training), raw.corpus)
        assert more is not None
        assert more.alone > plain.alone
    assert plain.in_a_pack > plain.alone
    beside = PROCESS_BYTES + PACK_BYTES
    assert plain.process(3, on_gpu=False) - beside == 3 * (plain.inputs + plain.in_a_pack)
    assert plain.process(1, on_gpu=False) - PROCESS_BYTES == plain.inputs + plain.alone


def test_what_an_absurd_row_takes_is_known_and_names_what_to_lower(raw: Any) -> None:
    row = row_of({"width": 2_000_000}, {"batch_size": 24})
    found = memory(row, raw.corpus)
    needs = [Need("wide", spec_of(row, raw.corpus), found, 15)]
    expected = (
        r"row wide: needs about 2\.\d PiB of memory for one run, this machine has 24 GiB; lower "
        r"model\.width \(2000000\)"
    )
    with pytest.raises(UserError, match=f"^{expected}{re.escape(UNLESS)}$"):
        check_memory(needs, Resources(), [Node(2, 0, 24 * GIB)], NAME)


@pytest.mark.parametrize(
    ("model", "training", "remedy"),
    [
        ({}, {"batch_size": 99_999}, r"lower training.batch_size \(99999\)"),
        ({"feed_forward": 10**7}, {}, r"lower model.feed_forward \(10000000\)"),
    ],
)
def test_the_remedy_names_what_is_largest(
    model: dict[str, Any], training: dict[str, Any], remedy: str, raw: Any
) -> None:
    row = row_of(model, training)
    needs = [Need("one", spec_of(row, raw.corpus), memory(row, raw.corpus), 1)]
    with pytest.raises(UserError, match=remedy):
        check_memory(needs, Resources(), [Node(2, 0, 2**20)], NAME)


def test_a_pack_that_does_not_fit_where_a_run_does_is_to_be_smaller() -> None:
    resources = Resources(pack=4)
    nodes = [Node(2, 0, 12 * GIB)]
    check_memory([need(1, 4)], resources, nodes, NAME)
    with pytest.raises(
        UserError,
        match=r"for a pack of 4 runs, this .*; lower --pack, or",
    ):
        check_memory([need(2, 15)], resources, nodes, NAME)
    # So few runs are no whole pack.
    check_memory([need(2, 2)], resources, nodes, NAME)


def test_runs_at_once_are_added_up() -> None:
    nodes = [Node(4, 0, 12 * GIB)]
    check_memory([need(2, 4)], Resources(), nodes, NAME)
    told = (
        r"^resources: 4 runs at once need about 14 GiB of memory, this machine has 12 GiB; set "
        rf"--concurrency 3{re.escape(UNLESS)}$"
    )
    with pytest.raises(UserError, match=told):
        check_memory([need(3, 15)], Resources(), nodes, NAME)
    check_memory([need(3, 15)], Resources(concurrency=3), nodes, NAME)
    check_memory([need(3, 3)], Resources(), nodes, NAME)
    # The largest count.
    with pytest.raises(UserError, match="--concurrency 3"):
        check_memory([need(0.1, 15), need(3, 4)], Resources(), nodes, NAME)


def test_all_workers_that_share_a_run_hold_it() -> None:
    resources, nodes = Resources(workers=4), [Node(4, 0, 8 * GIB)]
    check_memory([need(1, 1)], resources, nodes, NAME)
    with pytest.raises(UserError, match=r"resources: 4 runs at once need about"):
        check_memory([need(2, 1)], resources, nodes, NAME)


def test_beside_a_gpu_a_machine_holds_little_of_a_run() -> None:
    found = need(4, 1).memory
    assert found is not None
    assert found.process(2, on_gpu=True) == GPU_PROCESS_BYTES + 2 * GIB
    nodes = [Node(1, 1, 6 * GIB)]
    check_memory([need(8, 1)], Resources(gpus_per_run=1), nodes, NAME)


def test_a_machine_of_unknown_memory_and_a_row_of_unknown_size_refuse_nothing() -> None:
    check_memory([need(10**9, 15)], Resources(), [Node(4, 0)], NAME)
    unknown = Need("one", spec_with(), None, 15)
    check_memory([unknown], Resources(), [Node(4, 0, 1)], NAME)
    check_memory([need(10**9, 0)], Resources(), [Node(4, 0, 1)], NAME)


def test_the_largest_machine_of_a_cluster_counts() -> None:
    nodes = [Node(0, 0, GIB), Node(2, 0, 24 * GIB)]
    check_memory([need(8, 15)], Resources(), nodes, "a machine of the cluster has")
    with pytest.raises(UserError, match="a machine of the cluster has 24 GiB"):
        check_memory([need(30, 15)], Resources(), nodes, "a machine of the cluster has")


def test_bytes_are_told_with_their_unit() -> None:
    assert [text(n) for n in (2**20, 512 * 2**20, 1.5 * GIB, 24 * GIB, 2.25 * 2**50)] == [
        "1.0 MiB",
        "512 MiB",
        "1.5 GiB",
        "24 GiB",
        "2.2 PiB",
    ]
    assert COMMAND_BYTES == GIB


def command(verb: str, width: int, tmp_path: Path) -> list[str]:
    """A command on a row of that width."""
    write_manifest(noise_corpus(tmp_path), tmp_path / "corpus")
    given = f"space: {{model.width: {{choice: [{width}]}}}}" if verb == "search" else ""
    rows = "rows: [{name: one}]" if verb == "run" else ""
    study = tmp_path / "mine.yaml"
    base = f"base: {{folds: {{by: speaker}}, model: {{system: multilevel, width: {width}}}}}"
    study.write_text("\n".join((base, rows, given)))
    words = [verb, str(study), "--corpus", str(tmp_path / "corpus")]
    return [*words, "--store", str(tmp_path / "store")]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("verb", ["run", "search"])
def test_a_command_refuses_before_anything_starts(
    verb: str, dry_run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = command(verb, 2_000_000, tmp_path)
    done = CliRunner().invoke(app, [*words, *(["--dry-run"] if dry_run else [])])
    assert isinstance(done.exception, UserError), done.output
    assert "needs about 2" in str(done.exception)
    assert "PiB of memory for one run, this machine has" in str(done.exception)
    assert "lower model.width (2000000)" in str(done.exception)
    assert str(done.exception).endswith(UNLESS)
    assert not list((tmp_path / "store").glob("runs/*"))


@pytest.mark.parametrize("verb", ["run", "search"])
def test_who_knows_better_switches_the_check_off(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(workspace, "usable_memory", lambda: 2**20)
    (tmp_path / "sure.yaml").write_text("resources: {memory_check: false}\n")
    words = [*command(verb, 32, tmp_path), "--dry-run"]
    refused = CliRunner().invoke(app, words)
    assert "this machine has 1.0 MiB; " in str(refused.exception)
    done = CliRunner().invoke(app, [*words, "--profile", str(tmp_path / "sure.yaml")])
    assert done.exit_code == 0, done.exception


MEAN = (DOCUMENTED / "mean_frames.py").read_text()


@pytest.mark.parametrize(
    ("old", "new", "is_known"),
    [
        ("", "", True),
        # The meta device has no values to decide by.
        ("mean = (", "assert batch.num_frames.max() > 0\n        mean = (", True),
        ("super().__init__()", "super().__init__()\n        torch.ones(1).item()", False),
    ],
)
def test_a_model_of_ones_own_is_estimated_too(
    old: str, new: str, is_known: bool, tmp_path: Path, raw: Any
) -> None:
    (tmp_path / "mine.py").write_text(MEAN.replace(old, new, 1) if old else MEAN)
    values = {"models": ["mine.py"], "base": {"model": {"system": "mean_frames"}}}
    values["rows"] = [{"name": "wide", "model": {"width": 2_000_000_000}}]
    [row] = parse_study("mine", values, folder=tmp_path).rows
    found = memory(row, raw.corpus)
    assert (found is not None) == is_known
    if found is not None:
        needs = [Need("wide", spec_of(row, raw.corpus), found, 15)]
        with pytest.raises(UserError, match=r"needs about .* lower model\.width \(2000000000\)"):
            check_memory(needs, Resources(), [Node(2, 0, 24 * GIB)], NAME)


def test_every_shipped_row_without_an_encoder_is_estimated(raw: Any) -> None:
    for study in ("table1", "demo", "demo_baselines"):
        for row in load_study(study).rows:
            found = memory(row, raw.corpus)
            assert found is not None
            assert found.process(1, on_gpu=False) < 4 * GIB


@pytest.mark.slow
def test_the_estimate_is_near_what_a_run_takes(tmp_path: Path) -> None:
    noise = noise_corpus(tmp_path, shortest=16_000, step=2_000)
    write_manifest(noise, tmp_path / "corpus")
    wide = ("model.width=512", "model.feed_forward=4096", "folds.by=speaker")
    cases = [Case("demo", "highway network", 1, wide), Case("demo", "highway network", 2, wide)]
    store = Store(tmp_path / "store")
    for figure in compare(cases, tmp_path / "corpus", store, Console(quiet=True)):
        assert 0.7 < figure["ratio"] < 2, figure


def test_on_a_cluster_the_option_is_that_of_each_machine() -> None:
    nodes = [Node(8, 0, 20 * GIB)] * 10
    with pytest.raises(UserError, match=r"8 runs at once .*; set --cpus-per-run 2, or"):
        check_memory([need(4, 100)], Resources(), nodes, "a machine of the cluster has")
    check_memory([need(4, 100)], Resources(cpus_per_run=2), nodes, "a machine of the cluster has")


def test_workers_that_share_a_batch_take_less_each(raw: Any) -> None:
    row = row_of({"width": 64}, {"batch_size": 24})
    spec, corpus = spec_of(row, raw.corpus), select(raw.corpus, row.labels)
    alone, spread = (memory_of(spec, corpus, Pretrained.load(None), n) for n in (1, 4))
    assert alone is not None
    assert spread is not None
    assert spread.alone < alone.alone
