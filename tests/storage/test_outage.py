"""A store that does not answer is waited for, and people hear of it twice: at the start and end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlt_ray.errors import RunStopped, StoreSilent, StoreUnreachable
from mlt_ray.storage import outage as outage_module
from mlt_ray.storage.outage import Outage, outage_of


class Silent:
    """An action that raises until it was called `times` times."""

    def __init__(self, times: int) -> None:
        self.calls = 0
        self.times = times

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise StoreSilent("gone")
        return "there"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Lets no time pass; notes what was slept."""
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(outage_module.time, "sleep", sleep)
    monkeypatch.setattr(outage_module.time, "monotonic", lambda: now[0])
    return slept


def test_what_is_answered_at_once_waits_for_nothing_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Outage().through(Silent(0)) == "there"
    assert capsys.readouterr().err == ""


def test_pauses_grow_and_both_ends_are_said(
    pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert Outage().through(Silent(6)) == "there"
    assert sum(pauses) == 1 + 2 + 4 + 8 + 15 + 15
    assert capsys.readouterr().err.splitlines() == [
        "mlt-ray: gone; trying again for up to 30 minutes",
        "mlt-ray: the store answers again after 45 s",
    ]


def test_after_the_longest_wait_the_request_fails(
    pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoreSilent, match="gone"):
        Outage().through(Silent(10**6))
    assert sum(pauses) == pytest.approx(outage_module.LONGEST_S)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_refusal_is_not_tried_again() -> None:
    def refused() -> None:
        calls.append(1)
        raise StoreUnreachable("access denied")

    calls: list[int] = []
    with pytest.raises(StoreUnreachable, match="access denied"):
        Outage().through(refused)
    assert calls == [1]


def test_a_wait_ends_where_it_does_not_go_on(pauses: list[float]) -> None:
    outage = Outage()
    outage.goes_on = lambda: len(pauses) < 5
    with pytest.raises(StoreSilent):
        outage.through(Silent(10**6))
    assert len(pauses) == 5
    assert max(pauses) <= outage_module.ASK_S


def test_a_check_after_the_outage_can_forbid_the_next_try(pauses: list[float]) -> None:
    def check() -> None:
        checked.append(1)
        if len(checked) == 1:
            raise StoreSilent("still gone")
        raise RunStopped("another has it")

    checked: list[int] = []
    action = Silent(1)
    with pytest.raises(RunStopped):
        Outage().through(action, check)
    assert action.calls == 1


def test_many_threads_say_it_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage_module, "FIRST_PAUSE_S", 0.02)
    outage, gone = Outage(), threading.Event()
    gone.set()

    def ask() -> str:
        if gone.is_set():
            raise StoreSilent("gone")
        return "there"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(outage.through, ask) for _ in range(8)]
        time.sleep(0.2)
        gone.clear()
        assert {future.result() for future in asked} == {"there"}
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_ctrl_c_ends_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outage_module.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Outage().through(Silent(10**6))


@pytest.mark.parametrize(("other", "same"), [("s3://b/x/", True), ("s3://b/y", False)])
def test_a_process_has_one_outage_for_a_store(other: str, same: bool) -> None:
    assert (outage_of("s3://b/x") is outage_of(other)) is same
