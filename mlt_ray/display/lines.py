"""Lines for the user, as they are."""

from rich.console import Console


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print a text that is no markup of `rich`, without its colours; only a terminal breaks it."""
    console.print(text, style=style or None, highlight=False, markup=False, soft_wrap=True)
