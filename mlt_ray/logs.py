"""Whether the logs of Ray, Tune, MLflow and the workers are shown: with ``--verbose`` alone."""

import logging

_LOGGER = logging.getLogger("mlt_ray")


def show_logs() -> None:
    """Show the logs of this process from now on, each line with its time and logger."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO)
    _LOGGER.setLevel(logging.INFO)


def are_logs_shown() -> bool:
    """Whether `show_logs` was called."""
    return _LOGGER.level == logging.INFO
