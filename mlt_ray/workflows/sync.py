"""Brings MLflow up to date with a store."""

from mlt_ray.errors import UserError
from mlt_ray.storage.record import all_records
from mlt_ray.storage.store import PAGE, Store


def sync_store(store: Store, tracking_uri: str | None) -> list[str]:
    """Write to MLflow the finished runs and pages it lacks; returns the studies and searches.

    The list is empty if MLflow cannot be written, which was said then. Raises `UserError` for a
    store without runs.
    """
    from mlt_ray.tracking.location import tracking_location
    from mlt_ray.tracking.tracker import Tracker

    records = all_records(store)
    if not records:
        raise UserError(
            f"{store}: expected a store with runs, found none; run a study first, or name another "
            "--store"
        )
    tracker = Tracker(store, tracking_location(store, tracking_uri), records)
    tracker.sync()
    for record in records:
        page = store.report_dir(record.study) / PAGE
        if not record.is_search and store.keep(page):
            tracker.page(record.study, page)
    return [] if tracker.broken else [record.study for record in records]
