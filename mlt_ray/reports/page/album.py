"""The figures of a page, with the names of their files and what they show."""

from dataclasses import dataclass, field

from matplotlib.figure import Figure

from mlt_ray.reports.page import figures


@dataclass(frozen=True, kw_only=True)
class NamedFigure:
    """A figure, the name of its file, and what it shows, for readers and for screen readers."""

    name: str
    figure: Figure
    caption: str

    @property
    def svg(self) -> str:
        """The figure for the page."""
        return figures.as_svg(self.figure, self.caption)


@dataclass
class Album:
    """Collects figures; their names begin with `study` and are all different."""

    study: str
    figures: dict[str, NamedFigure] = field(default_factory=dict)

    def add(self, name: str, figure: Figure, caption: str) -> NamedFigure:
        """Keep a figure under its name, with a number behind it if the name is taken."""
        first = full = f"{self.study}-{name}"
        number = 1
        while full in self.figures:
            number += 1
            full = f"{first}-{number}"
        self.figures[full] = NamedFigure(name=full, figure=figure, caption=caption)
        return self.figures[full]

    def find(self, name: str) -> NamedFigure | None:
        """The figure that was added under this name."""
        return self.figures.get(f"{self.study}-{name}")
