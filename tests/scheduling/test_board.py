"""What the board passes on of workers that wait for the store."""

import asyncio
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError

from mlt_ray.errors import RayDied
from mlt_ray.scheduling import board
from mlt_ray.scheduling.board import BoardClient, RunBoard
from mlt_ray.storage.outage import Outage


def test_of_many_workers_that_wait_the_first_and_the_last_are_heard() -> None:
    async def hear() -> list[tuple[bool, str]]:
        board = RunBoard()
        for worker in ("a", "b", "c"):
            await board.hear(worker, True, f"{worker} waits")
        for worker in ("b", "a", "c"):
            await board.hear(worker, False, f"answers {worker}")
        await board.hear("a", True, "a waits again")
        told = [await board.told() for _ in range(3)]
        assert board._heard.empty()
        return told

    assert asyncio.run(hear()) == [
        (True, "a waits"),
        (False, "answers c"),
        (True, "a waits again"),
    ]


def test_a_board_that_was_killed_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(news: object) -> None:
        raise ActorDiedError

    client = object.__new__(BoardClient)
    client._news, client._actor = None, SimpleNamespace(told=SimpleNamespace(remote=object))
    monkeypatch.setattr(board.ray, "wait", lambda news, timeout: (news, []))
    monkeypatch.setattr(board.ray, "get", dead)
    with pytest.raises(RayDied, match=r"^Ray has died: expected this command's board .* goes on"):
        client.relay(Outage())
