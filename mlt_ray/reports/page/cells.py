"""Numbers and names as the page shows them: percent, points, times, names of anchors and files."""

from datetime import timedelta
from typing import Any

from mlt_ray.reports.resampling import Interval


def plain(value: Any) -> str:
    """A value with four digits, whole numbers by thousands; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1:
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def mean_text(mean: float, std: float | None) -> str:
    """Mean and deviation of shares in percent, such as 73.0 ± 0.3."""
    return percent(mean) if std is None else f"{percent(mean)} ± {percent(std)}"


def percent(share: float | None) -> str:
    """A share of 0–1 in percent, without the sign; nothing for None."""
    return "" if share is None else f"{100 * share:.1f}"


def interval_text(interval: Interval) -> str:
    """The ends of an interval of shares in percent."""
    return f"{percent(interval.low)} – {percent(interval.high)}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign; nothing for None."""
    return "" if difference is None else f"{100 * difference:+.1f}".replace("-", "−")


def p_text(p: float | None) -> str:
    """A p value with three digits."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:04:31; below a minute seconds, such as 4.8 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))


def slug(name: str) -> str:
    """A name's letters and digits, in lower case, joined by hyphens: at most 60 characters."""
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "-".join(words)[:60] or "row"
