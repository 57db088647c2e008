"""What the board passes on of workers that wait for the store."""

import asyncio

from mlt_ray.scheduling.board import RunBoard


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
