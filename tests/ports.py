"""Ports for the servers that tests start."""

import random
import socket

FIRST, LAST = 20_000, 32_000
"""Above those that Ray gives to its workers, below those that systems give to connections."""


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on, drawn anew each time.

    A test that runs beside this one draws others, most likely, before either listens.
    """
    found: list[int] = []
    drawn = random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST)
    for port in drawn:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def free_port() -> int:
    """A port that nobody listens on."""
    [port] = free_ports(1)
    return port
