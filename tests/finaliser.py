"""A signal that comes while Python ends an object, where it drops what is raised."""

import signal
import time


class Slow:
    """An object whose end takes a while."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)


def drop_and_wait(slow: Slow) -> None:
    """Let SIGINT come in the end of an object, then wait for it to come again."""
    del slow
    time.sleep(5)
