"""Writes a report's page: one HTML file that needs nothing else, and its figures for papers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from mlt_ray.reports.page.album import Album, NamedFigure
from mlt_ray.reports.page.cells import slug
from mlt_ray.reports.page.content import StudyContent
from mlt_ray.reports.page.figures import write_figure
from mlt_ray.reports.page.sections import ROWS, study_sections
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.store import PAGE

FIGURES = "figures"
"""Name of the folder of the page's figures, beside it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page's file, all paths that were written, and the figure of each study's rows."""

    path: Path
    written: tuple[Path, ...]
    rows: Mapping[str, Figure]


def write_page(
    contents: Sequence[StudyContent],
    folder: Path,
    failures: Sequence[str] = (),
    *,
    with_figures: bool = False,
) -> Page:
    """Write ``report.html``; `with_figures` also a folder of its figures, each as PDF and SVG.

    `failures` say why runs of this call have failed.
    """
    html, albums = render(contents, failures)
    page = folder / PAGE
    write_bytes(page, html.encode())
    written = [page]
    if with_figures:
        for album in albums:
            for one in album.figures.values():
                write_figure(one.figure, folder / FIGURES, one.name)
        written.append(folder / FIGURES)
    rows: dict[str, Figure] = {}
    for content, album in zip(contents, albums, strict=True):
        found: NamedFigure | None = album.find(ROWS)
        if found is not None:
            rows[content.record.study] = found.figure
    return Page(path=page, written=tuple(written), rows=rows)


def render(
    contents: Sequence[StudyContent], failures: Sequence[str] = ()
) -> tuple[str, list[Album]]:
    """The page's HTML, and the figures of each study on it."""
    albums: list[Album] = []
    for content in contents:
        name = first = slug(content.record.study)
        while name in {album.study for album in albums}:
            name = f"{first}-{len(albums) + 1}"
        albums.append(Album(name))
    studies = [
        study_sections(content, album, failures)
        for content, album in zip(contents, albums, strict=True)
    ]
    folder = files("mlt_ray.reports.page")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((folder / "page.html.j2").read_text("utf-8"))
    html = template.render(
        title=f"Report: {', '.join(content.record.study for content in contents)}",
        css=(folder / "page.css").read_text("utf-8"),
        studies=studies,
    )
    return html, albums
