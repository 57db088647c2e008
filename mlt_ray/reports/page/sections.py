"""The sections of a study on the page, as the values that the template prints."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.reports.breakdown import KINDS
from mlt_ray.reports.collect import TableRow
from mlt_ray.reports.comparison import SCORE_NAMES
from mlt_ray.reports.page import figures
from mlt_ray.reports.page.album import Album
from mlt_ray.reports.page.cells import (
    interval_text,
    mean_text,
    p_text,
    percent,
    plain,
    points,
    slug,
)
from mlt_ray.reports.page.content import MOST_WRONG, RowContent, StudyContent
from mlt_ray.reports.page.figures import Curve, Pooled
from mlt_ray.reports.page.layer_counts import layer_counts_of
from mlt_ray.reports.page.provenance import (
    FROM_PAPER,
    commands,
    costs,
    digest,
    is_of_paper,
    missing_runs,
    versions,
)
from mlt_ray.reports.page.settings import settings_of
from mlt_ray.reports.tables import MARK, caption, layers_text

ROWS: Final = "rows"
"""Name in an album of the figure of all rows."""

MOST_DRAWN: Final = 20
"""Most rows of a study with figures of their own: each takes a second, and 60 kB of the page."""

PARTS: Final[Mapping[str, str]] = {
    "results": "results",
    "search": "the search",
    "comparisons": "which rows differ",
    "recalls": "by class",
    "details": "row by row",
    "wrong": "what every run gets wrong",
    "costs": "cost",
    "settings": "settings",
    "missing": "missing and failed runs",
    "commands": "how to reproduce",
}
"""What a study's headings are called in the list of contents, by their anchors."""


def study_sections(
    content: StudyContent, album: Album, failures: Sequence[str] = ()
) -> dict[str, Any]:
    """All that the template prints of a study; its figures go into the album.

    `failures` say why runs of this call have failed; each begins with its study's name.
    """
    table = content.table
    found = {c.row.name: c for c in content.rows}
    has_published = any(row.published for row in table.rows)
    scores = [pooled_of(row, found.get(row.name)) for row in table.rows]
    sections = {
        "id": album.study,
        "content": content,
        "caption": caption(table),
        "corpora": [corpus_card(corpus) for corpus in content.corpora],
        "has_published": has_published,
        "rows": [
            result(row, found.get(row.name), has_published, content.reference) for row in table.rows
        ],
        "lines": layers_text(table),
        "forest": forest(scores, album),
        "layers": layer_counts(content, scores, album),
        "comparisons": [comparison(c) for c in content.rows if c.comparison],
        "recalls": recalls_by_classes(content.rows),
        "never": [f"{c.row.name}: {', '.join(c.never)}" for c in content.rows if c.never],
        "parts": [part for kind in KINDS if (part := parts(kind, content, album))],
        "details": [details(c, album) for c in drawn(content.rows)],
        "wrong": wrong(content),
        "num_wrong": len(content.wrong) if content.rows else 0,
        "not_listed": content.never,
        "settings": settings_of(content.record.rows),
        "from_paper": FROM_PAPER if is_of_paper(content) else (),
        "is_elsewhere": content.is_beside_another_corpus,
        "costs": costs(content),
        "search": search_part(content, album),
        "missing": [
            *missing_runs(content),
            *(text for text in failures if text.startswith(f"{table.study}: ")),
        ],
        "commands": commands(content),
        "versions": versions(content),
        "digests": [digest(row) for row in content.record.rows],
    }
    return {**sections, "contents": [p for p in PARTS.items() if sections.get(p[0], True)]}


def pooled_of(row: TableRow, found: RowContent | None) -> Pooled:
    """A row of the forest plot: its pooled UA with the interval, and the published UA."""
    published = row.published["ua"][0] if row.published else None
    if found is None:
        return Pooled(name=row.name, score=None, published=published)
    interval = found.interval
    pooled = found.measured.ua.pooled
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Pooled(name=row.name, score=pooled, low=low, high=high, published=published)


def forest(scores: Sequence[Pooled], album: Album) -> str:
    """The forest plot of the rows that have a score; empty if none has."""
    shown = [s for s in scores if s.score is not None or s.published is not None]
    if not shown:
        return ""
    known = (f"{s.name} {percent(s.score)}" for s in shown if s.score is not None)
    said = f"Pooled UA in percent: {', '.join(known) or 'none measured'}"
    return album.add(ROWS, figures.forest(shown, "UA"), said).svg


def layer_counts(content: StudyContent, scores: Sequence[Pooled], album: Album) -> str:
    """The scores over numbers of layers, if these are what the rows differ in; else empty."""
    drawn = layer_counts_of(content.record.rows, scores)
    return album.add("layers", drawn, "Pooled UA by numbers of layers").svg if drawn else ""


def corpus_card(corpus: Corpus) -> dict[str, Any]:
    """What is counted of a corpus."""
    counts = Counter(u.emotion for u in corpus.utterances)
    return {
        "name": corpus.name,
        "num": len(corpus.utterances),
        "num_speakers": len({u.speaker for u in corpus.utterances}),
        "minutes": round(sum(u.duration_s for u in corpus.utterances) / 60),
        "classes": ", ".join(f"{name} {n}" for name, n in sorted(counts.items())),
        "fingerprint": corpus.fingerprint,
    }


def result(
    row: TableRow, found: RowContent | None, has_published: bool, reference: str | None
) -> dict[str, Any]:
    """A line of the table of results; `found` is None for a row without finished runs."""
    published = row.published
    difference = verdict = ""
    measured, deviations = [""] * 3, [""] * 2
    if found is not None:
        wa, ua, interval = found.measured.wa, found.measured.ua, found.interval
        measured = [
            mean_text(wa.mean, wa.std_repeats),
            mean_text(ua.mean, ua.std_repeats) + (MARK if found.measured.gaps else ""),
            percent(ua.pooled) + (f" ({interval_text(interval)})" if interval else ""),
        ]
        deviations = [percent(ua.std_folds), percent(ua.std_runs)]
        difference = points(ua.mean - published["ua"][0]) if published else ""
        verdict = found.comparison.verdict if found.comparison else "other folds or classes"
    beside = []
    if has_published:
        beside = [mean_text(*published[s]) if published else "" for s in SCORE_NAMES]
        beside.append(difference)
    return {
        "name": row.name,
        "cells": [*measured, *beside, runs_text(row, found)],
        "verdict": "–" if row.name == reference else verdict,
        "deviations": deviations,
    }


def runs_text(row: TableRow, found: RowContent | None) -> str:
    """How many runs are finished of how many, and of which folds and seeds they are."""
    counted = f"{row.runs_done}/{row.runs_planned}"
    if found is None:
        return counted
    folds, seeds = (found.runs[name].nunique() for name in ("fold", "seed"))
    return f"{counted} ({folds} × {seeds})" if folds * seeds == row.runs_done else counted


def comparison(found: RowContent) -> dict[str, Any]:
    """A line of the table of comparisons, for a row that has one."""
    against = found.comparison
    assert against is not None
    test, pooled = against.test, against.pooled
    cells = [""] * 6
    if test is not None:
        cells = [
            points(test.difference),
            percent(test.standard_error),
            str(test.num_pairs),
            p_text(test.p),
            p_text(against.p),
            percent(test.smallest),
        ]
    cells.append(f"{points(pooled.low)} – {points(pooled.high)}" if pooled else "")
    return {"name": found.row.name, "cells": cells, "verdict": against.verdict}


def recalls_by_classes(rows: Sequence[RowContent]) -> list[dict[str, Any]]:
    """A table for each set of classes: recall of each class by row, and the calibration error."""
    found: dict[tuple[str, ...], list[RowContent]] = {}
    for row in rows:
        found.setdefault(row.classes, []).append(row)
    return [
        {
            "classes": classes,
            "rows": [
                {
                    "name": row.row.name,
                    "cells": [*map(percent, row.recalls), percent(row.calibration.error)],
                }
                for row in own
            ],
        }
        for classes, own in found.items()
    ]


def parts(kind: str, content: StudyContent, album: Album) -> dict[str, Any] | None:
    """UA of each row in the parts of one of `KINDS`; None if there is one part alone."""
    by_row = content.parts(kind)
    if not by_row:
        return None
    ua = {row: {part.name: part.ua for part in found} for row, found in by_row.items()}
    names = sorted({name for found in ua.values() for name in found})
    drawn = None
    if len(names) > 3:
        names_first = sorted(by_row, key=lambda name: name != content.reference)
        first = {name: by_row[name] for name in names_first[: len(figures.COLOURS)]}
        said = f"UA by {kind}: {', '.join(first)}"
        if len(names) > figures.MOST_PARTS:
            said += f"; the {figures.MOST_PARTS} of {len(names)} where the first is worst"
        drawn = album.add(slug(kind), figures.by_part(first), said)
    lines = [
        {"name": name, "cells": [percent(found.get(name)) for found in ua.values()]}
        for name in names
    ]
    return {"kind": kind, "rows": list(ua), "lines": lines, "figure": drawn}


def drawn(rows: Sequence[RowContent]) -> Sequence[RowContent]:
    """The rows that have figures of their own: all, or the best of many on dev, in their order."""
    best = sorted(rows, key=lambda found: -found.runs["dev_ua"].mean())[:MOST_DRAWN]
    names = {found.row.name for found in best}
    return [found for found in rows if found.row.name in names]


def details(found: RowContent, album: Album) -> dict[str, Any]:
    """A row's confusion matrix, reliability and learning curves."""
    name = found.row.name
    shown = [
        album.add(
            f"confusion-{slug(name)}",
            figures.confusion(found.confusion, found.classes),
            f"{name}: true by predicted class, percent of each true class",
        ),
        album.add(
            f"reliability-{slug(name)}",
            figures.reliability(found.calibration),
            f"{name}: how often predictions are right by the probability given; "
            f"ECE {percent(found.calibration.error)} %",
        ),
    ]
    runs = list(_curves(found))
    if any(len(run.scores) > 1 for run in runs):
        shown.append(
            album.add(
                f"curves-{slug(name)}",
                figures.curves(runs, "UA"),
                f"{name}: dev UA of {len(runs)} runs by epoch; dots: the epochs chosen",
            )
        )
    return {"name": name, "figures": shown}


def _curves(found: RowContent) -> Iterator[Curve]:
    for report in found.reports:
        yield Curve(scores=[epoch.dev_ua for epoch in report.curve], best_epoch=report.best_epoch)


def wrong(content: StudyContent) -> list[Any]:
    """The first of the utterances that every run gets wrong."""
    if not content.rows:
        return []
    shown = content.wrong.head(MOST_WRONG)
    shown = shown.assign(heard=[f"{100 * share:.0f} %" for share in shown["share"]])
    return list(shown.to_dict("records"))


def search_part(content: StudyContent, album: Album) -> dict[str, Any] | None:
    """The configurations of the search that a study's rows come from; None without one."""
    search = content.search
    if search is None:
        return None
    shown = []
    if search.known:
        history = figures.search_history(
            [c["number"] for c in search.known],
            [search.scale * c[search.objective] for c in search.known],
            [search.scale * best for best in search.best_so_far],
            search.label,
        )
        shown.append(album.add("search", history, f"{search.label} of each configuration"))
    if search.importances:
        drawing = figures.importance(search.importances)
        count = sum(c["state"] == "complete" for c in search.configurations)
        said = (
            f"Share of the variance of {search.label} that each parameter explains, by {count} "
            "configurations (fANOVA)"
        )
        shown.append(album.add("importance", drawing, said))
    rows = [
        {
            "number": c["number"],
            "cells": [
                *(plain(c[key]) for key in search.parameters),
                f"{c['cells_done']}/{c['cells_planned']}",
                percent(c[search.objective]) if search.is_share else plain(c[search.objective]),
            ],
            "state": ": ".join(filter(None, (c["state"], c["reason"], _place(c)))),
        }
        for c in search.configurations
    ]
    names = [key.rpartition(".")[2].replace("_", " ") for key in search.parameters]
    states = Counter(c["state"] for c in search.configurations)
    return {
        "title": search.title,
        "counts": ", ".join(f"{n} {state}" for state, n in states.items()),
        "head": [*names, "runs", search.label],
        "rows": rows,
        "figures": shown,
    }


def _place(configuration: Mapping[str, Any]) -> str:
    place = configuration.get("place")
    return "" if place is None else f"best {place}"
