"""Queues of runs, and the packs in which they go out."""

from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.planning.source import Queue
from mlt_ray.spec import Run, RunSpec

WIDE = RunSpec(corpus="c", model=MultilevelSpec())
XU = RunSpec(corpus="c", model=XuSpec())
RUNS = [Run(spec=spec, fold=f, seed=s) for spec in (WIDE, XU) for s in (1, 2) for f in range(1, 6)]


def drained(queue: Queue, sizes: dict[RunSpec, int]) -> list[tuple[Run, ...]]:
    packs = []
    while pack := queue.next(lambda spec: sizes[spec]):
        packs.append(pack)
    return packs


def test_every_run_goes_out_once_in_order() -> None:
    packs = drained(Queue(RUNS), {WIDE: 1, XU: 1})
    assert [pack[0] for pack in packs] == RUNS
    assert {len(pack) for pack in packs} == {1}


def test_a_pack_holds_runs_of_one_specification_and_no_more_than_asked() -> None:
    mixed = [run for pair in zip(RUNS[:10], RUNS[10:], strict=True) for run in pair]
    packs = drained(Queue(mixed), {WIDE: 4, XU: 1})
    assert [len(pack) for pack in packs] == [4, 4, 2] + [1] * 10
    assert all(len({run.spec for run in pack}) == 1 for pack in packs)
    assert sorted(run.digest for pack in packs for run in pack) == sorted(r.digest for r in RUNS)


def test_a_queue_is_exhausted_when_all_is_given_out() -> None:
    queue = Queue(RUNS[:1])
    assert not queue.exhausted
    assert queue.next(lambda spec: 15) == tuple(RUNS[:1])
    assert queue.exhausted
    assert queue.next(lambda spec: 15) is None
