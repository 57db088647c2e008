"""A report's page: one HTML file that needs nothing else, and its figures as files for papers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from mlt_ray.reports.breakdown import KINDS
from mlt_ray.reports.comparison import SCORE_NAMES
from mlt_ray.reports.layers import layer_lines
from mlt_ray.reports.page import figures
from mlt_ray.reports.page.content import MOST_WRONG, RowContent, StudyContent, contents_of
from mlt_ray.reports.page.figures import Curve, Mean
from mlt_ray.reports.page.layer_counts import layer_counts_of
from mlt_ray.reports.results import Results
from mlt_ray.reports.tables import caption
from mlt_ray.spec import decisive, digest_of
from mlt_ray.storage.files import write_bytes

FROM_PAPER: Final = (
    "A fold is a session: the only split of IEMOCAP into five parts without a speaker in two of "
    "them (assumed).",
    "Words have 50-d GloVe vectors from a package unless --glove names others.",
    "Layer norm in the pre-net, where the paper's source has batch norm: an utterance must not "
    "depend on its neighbours.",
    "Compared systems are built from their papers and public code, on the folds, selection and "
    "metrics here.",
    "The paper does not say what its ± is; it is taken as the deviation over repeats.",
)
"""What holds for every study; the README has the whole list."""


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


def render(
    contents: Sequence[StudyContent], failures: Sequence[str] = ()
) -> tuple[str, list[NamedFigure]]:
    """The page's HTML, and all figures on it. `failures` say why runs of this call have failed."""
    drawn: list[NamedFigure] = []
    studies = [_study(content, drawn, failures) for content in contents]
    folder = files("mlt_ray.reports.page")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((folder / "page.html.j2").read_text("utf-8"))
    html = template.render(
        title=" · ".join(content.table.title for content in contents),
        css=(folder / "page.css").read_text("utf-8"),
        studies=studies,
        from_paper=FROM_PAPER,
    )
    return html, drawn


def _study(
    content: StudyContent, drawn: list[NamedFigure], failures: Sequence[str]
) -> dict[str, Any]:
    table = content.table
    own: list[NamedFigure] = []
    found = {c.row.name: c for c in content.rows}
    has_published = any(row.published for row in table.rows)

    def figure(name: str, drawing: Figure, said: str) -> NamedFigure:
        one = NamedFigure(name=f"{_slug(table.study)}-{name}", figure=drawing, caption=said)
        own.append(one)
        return one

    means = [_mean(row.name, found.get(row.name), row.published) for row in table.rows]
    shown = [mean for mean in means if mean.mean is not None or mean.published is not None]
    forest = figure("rows", figures.forest(shown, "UA"), _said(shown)) if shown else None
    by_layers = layer_counts_of(content.record.rows, means)
    layers = figure("layers", by_layers, "UA by numbers of layers") if by_layers else None
    study = {
        "id": _slug(table.study),
        "content": content,
        "caption": caption(table),
        "corpora": [_corpus(corpus, table.rows[0].classes) for corpus in content.corpora],
        "has_published": has_published,
        "rows": [
            _cells(row, found.get(row.name), has_published, content.reference) for row in table.rows
        ],
        "lines": [
            f"{r.name}: {line}" for r in table.rows for line in layer_lines(r.layers, r.runs_done)
        ],
        "forest": forest.svg if forest else "",
        "layers": layers.svg if layers else "",
        "comparisons": [_comparison(c) for c in content.rows if c.comparison],
        "classes": content.rows[0].classes if content.rows else (),
        "recalls": [
            {
                "name": c.row.name,
                "cells": [*map(_percent, c.recalls), _percent(c.calibration.error)],
            }
            for c in content.rows
            if c.classes == content.rows[0].classes
        ],
        "parts": [part for kind in KINDS if (part := _parts(kind, content, figure))],
        "details": [_details(c, figure) for c in content.rows],
        "wrong": _wrong(content),
        "num_wrong": len(content.wrong) if content.rows else 0,
        "costs": [_cost(c) for c in content.rows],
        "search": _search(content, figure),
        "missing": [*_missing(content), *failures],
        "commands": _commands(content),
        "digests": [_digest(row) for row in content.record.rows],
    }
    drawn += own
    return study


def _mean(name: str, found: RowContent | None, published: Any) -> Mean:
    said = published["ua"][0] if published else None
    if found is None:
        return Mean(name=name, mean=None, published=said)
    interval = found.intervals["ua"]
    mean = found.measured.ua.pooled
    return Mean(name=name, mean=mean, low=interval.low, high=interval.high, published=said)


def _said(means: Sequence[Mean]) -> str:
    parts = (f"{m.name} {100 * m.mean:.1f}" for m in means if m.mean is not None)
    return f"Pooled UA in percent: {', '.join(parts) or 'none measured'}"


def _corpus(corpus: Any, classes: Sequence[str]) -> dict[str, Any]:
    counts = Counter(u.emotion for u in corpus.utterances)
    return {
        "name": corpus.name,
        "num": len(corpus.utterances),
        "num_speakers": len({u.speaker for u in corpus.utterances}),
        "minutes": round(sum(u.duration_s for u in corpus.utterances) / 60),
        "classes": ", ".join(f"{name} {n}" for name, n in sorted(counts.items())),
        "fingerprint": corpus.fingerprint,
    }


def _cells(
    row: Any, found: RowContent | None, has_published: bool, reference: str | None
) -> dict[str, Any]:
    cells = []
    if has_published:
        cells += [_mean_text(*row.published[s]) if row.published else "" for s in SCORE_NAMES]
    if found is None:
        cells += [""] * (5 + has_published)
    else:
        measured = found.measured
        cells += [
            _mean_text(getattr(measured, s).mean, getattr(measured, s).std_repeats)
            for s in SCORE_NAMES
        ]
        interval = found.intervals["ua"]
        cells.append(f"{_percent(interval.low)} – {_percent(interval.high)}")
        if has_published:
            difference = measured.ua.mean - row.published["ua"][0] if row.published else None
            cells.append(_points(difference))
        cells += [_percent(measured.ua.std_folds), _percent(measured.ua.std_runs)]
    verdict = ""
    if row.name == reference:
        verdict = "–"
    elif found is not None:
        verdict = found.comparison.verdict if found.comparison else "other utterances"
    return {
        "name": row.name,
        "cells": [*cells, f"{row.runs_done}/{row.runs_planned}"],
        "verdict": verdict,
    }


def _comparison(found: RowContent) -> dict[str, Any]:
    comparison = found.comparison
    assert comparison is not None
    test, pooled = comparison.test, comparison.pooled
    cells = [""] * 6
    if test is not None:
        cells = [
            _points(test.difference),
            _percent(test.standard_error),
            str(test.num_pairs),
            f"{test.p:.3f}",
            f"{comparison.p:.3f}",
            _percent(test.smallest),
        ]
    cells.append(f"{_points(pooled.low)} – {_points(pooled.high)}" if pooled else "")
    return {"name": found.row.name, "cells": cells, "verdict": comparison.verdict}


def _parts(kind: str, content: StudyContent, figure: Any) -> dict[str, Any] | None:
    parts = content.parts(kind)
    if not parts:
        return None
    names = list(dict.fromkeys(part.name for found in parts.values() for part in found))
    first = {name: parts[name] for name in list(parts)[: len(figures.COLOURS)]}
    drawing = None
    if len(names) > 3:
        said = f"UA by {kind} of {', '.join(first)}"
        drawing = figure(_slug(kind), figures.by_part(first), said)
    rows = []
    for name, found in parts.items():
        ua = {part.name: part.ua for part in found}
        rows.append({"name": name, "cells": [_percent(ua.get(n)) for n in names]})
    return {"kind": kind, "names": names, "rows": rows, "figure": drawing.svg if drawing else ""}


def _details(found: RowContent, figure: Any) -> dict[str, Any]:
    name, slug = found.row.name, _slug(found.row.name)
    shown = [
        figure(
            f"confusion-{slug}",
            figures.confusion(found.confusion, found.classes),
            f"{name}: true by predicted class, percent of each true class",
        ),
        figure(
            f"reliability-{slug}",
            figures.reliability(found.calibration),
            f"{name}: how often predictions are right by the probability given; "
            f"ECE {_percent(found.calibration.error)} %",
        ),
    ]
    runs = list(_curves(found))
    if any(len(run.scores) > 1 for run in runs):
        shown.append(
            figure(
                f"curves-{slug}",
                figures.curves(runs, "UA"),
                f"{name}: dev UA of {len(runs)} runs by epoch; dots: the epochs chosen",
            )
        )
    return {"name": name, "figures": shown}


def _curves(found: RowContent) -> Iterator[Curve]:
    for report in found.reports:
        yield Curve(scores=[epoch.dev_ua for epoch in report.curve], best_epoch=report.best_epoch)


def _wrong(content: StudyContent) -> list[Any]:
    if not content.rows:
        return []
    shown = content.wrong.head(MOST_WRONG)
    shown = shown.assign(heard=[f"{100 * share:.0f} %" for share in shown["share"]])
    return list(shown.to_dict("records"))


def _search(content: StudyContent, figure: Any) -> dict[str, Any] | None:
    search = content.search
    if search is None:
        return None
    shown = []
    if search.known:
        history = figures.search_history(
            [c["number"] for c in search.known],
            [c[search.objective] for c in search.known],
            search.best_so_far,
            search.objective,
        )
        shown.append(figure("search", history, f"{search.objective} of each configuration"))
    if search.importances:
        drawing = figures.importance(search.importances)
        said = f"Share of the variance of {search.objective} that each parameter explains (fANOVA)"
        shown.append(figure("importance", drawing, said))
    rows = [
        {
            "number": c["number"],
            "cells": [
                *(_value(c[key]) for key in search.parameters),
                f"{c['cells_done']}/{c['cells_planned']}",
                _value(c[search.objective]),
            ],
            "state": f"{c['state']}: {c['reason']}" if c["reason"] else c["state"],
        }
        for c in search.configurations
    ]
    names = [key.rpartition(".")[2].replace("_", " ") for key in search.parameters]
    states = Counter(c["state"] for c in search.configurations)
    return {
        "title": search.title,
        "counts": ", ".join(f"{n} {state}" for state, n in states.items()),
        "head": [*names, "cells", search.objective],
        "rows": rows,
        "figures": shown,
    }


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cost(found: RowContent) -> dict[str, Any]:
    devices = dict.fromkeys(r.environment.get("device", "") for r in found.reports)
    runs = len(found.runs)
    cells = [
        f"{round(found.runs['num_parameters'].mean()):,}",
        str(runs),
        _duration(found.computed_s / runs),
        _duration(found.computed_s),
    ]
    return {"name": found.row.name, "cells": cells, "device": ", ".join(filter(None, devices))}


def _missing(content: StudyContent) -> Iterator[str]:
    """Runs that are planned and not finished, row by row."""
    done = {report.digest for found in content.rows for report in found.reports}
    for row in content.record.rows:
        left = [str(run) for run in row.runs if run.digest not in done]
        if left and len(left) == len(row.runs):
            yield f"{row.name}: none of {len(left)} runs"
        elif left:
            yield f"{row.name}: {'; '.join(left)}"


def _commands(content: StudyContent) -> list[str]:
    record = content.record
    return [
        "pip install -c constraints.txt .",
        f"mlt-ray run {record.study} --corpus CORPUS    # of fingerprint {record.fingerprint}",
        f"mlt-ray report {record.study}",
    ]


def _digest(row: Any) -> dict[str, str]:
    libraries = {**row.spec.get("features", {}), **row.spec.get("training", {})}
    return {
        "name": row.name,
        "digest": digest_of(decisive(row.spec)),
        "changed": ", ".join(row.changes),
        "libraries": libraries.get("libraries", ""),
    }


def _mean_text(mean: float, std: float | None) -> str:
    return _percent(mean) if std is None else f"{_percent(mean)} ± {_percent(std)}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _points(difference: float | None) -> str:
    return "" if difference is None else f"{100 * difference:+.1f}".replace("-", "−")


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _slug(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split()) or "row"


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page's file, all paths that were written, and the figure of each study's rows."""

    path: Path
    written: tuple[Path, ...]
    rows: Mapping[str, Figure]


def write_page(
    results: Results, folder: Path, failures: Sequence[str] = (), *, with_figures: bool = False
) -> Page:
    """Write ``report.html``; `with_figures` also a folder of them, each as PDF and SVG."""
    html, drawn = render(contents_of(results), failures)
    page = folder / "report.html"
    write_bytes(page, html.encode())
    written = [page]
    if with_figures:
        for one in drawn:
            figures.write_figure(one.figure, folder / "figures", one.name)
        written.append(folder / "figures")
    by_name = {one.name: one.figure for one in drawn}
    found = {table.study: by_name.get(f"{_slug(table.study)}-rows") for table in results.tables}
    rows = {study: figure for study, figure in found.items() if figure is not None}
    return Page(path=page, written=tuple(written), rows=rows)
