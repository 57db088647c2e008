"""Brings MLflow up to date with a store."""

from pathlib import Path

from mlt_ray.errors import UserError
from mlt_ray.parsing import parse_json
from mlt_ray.storage.record import all_records
from mlt_ray.storage.store import PAGE, Store


def sync_store(store: Store, tracking_uri: str | None) -> list[str]:
    """Write to MLflow the finished runs and pages it lacks; returns the studies and searches.

    The list is empty if MLflow cannot be written, which was said then. Raises `UserError` for a
    store without runs, and last of all if an experiment cannot be written, as a deleted one.
    """
    from mlt_ray.tracking.location import usable_location
    from mlt_ray.tracking.tracker import Tracker

    records = all_records(store)
    if not records:
        raise UserError(
            f"{store}: expected a store with runs, found none; run a study first, or name another "
            "--store"
        )
    store.check_writable()
    tracker = Tracker(store, usable_location(store, tracking_uri), records)
    tracker.sync()
    for record in records:
        page = None if record.is_search else _page_of(record.study, store)
        if page is not None:
            tracker.page(record.study, page)
    if tracker.broken:
        return []
    if tracker.unusable:
        count = len(tracker.unusable)
        what = "1 experiment is" if count == 1 else f"{count} experiments are"
        others = len(records) - count
        more = f"; the other {others} of this store are" if others else ""
        raise UserError(f"{what} not up to date, as said above{more}")
    return [record.study for record in records]


def _page_of(study: str, store: Store) -> Path | None:
    """The study's page, else the newest one here that it shares with others, if any."""
    own = store.report_dir(study) / PAGE
    if store.keep(own):
        return own
    shared = [
        folder / PAGE
        for folder in (store.root / "reports").glob("*")
        if (folder / PAGE).is_file() and study in _studies_of(folder)
    ]
    return max(shared, key=lambda page: page.stat().st_mtime, default=None)


def _studies_of(folder: Path) -> set[str]:
    """The studies whose tables a folder of a report has."""
    tables = folder / "tables.json"
    if not tables.is_file():
        return set()
    try:
        return {table["study"] for table in parse_json(tables.read_text("utf-8"))["tables"]}
    except (ValueError, TypeError, LookupError):  # the next report writes it again
        return set()
