"""What people read of the findings about a corpus."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlt_ray.corpus.examination.check import CorpusCheck, Distribution, FoldCheck
from mlt_ray.corpus.examination.paper_counts import PAPER_COUNTS, are_comparable
from mlt_ray.corpus.fold_notes import first_gaps
from mlt_ray.corpus.utterance import unlisted_text

_SHOWN: Final = 10  # lines of one kind that are printed; the others are only counted


def render(check: CorpusCheck, *, everything: bool = False) -> RenderableType:
    """The findings for a terminal: tables of counts, then one line per finding.

    With `everything`, long lists are not cut, and utterances that are only counted are named.
    """
    lines = _content_lines(check)
    if everything:
        lines += _named_lines(check)
    lines += _trust_lines(check, None if everything else _SHOWN)
    most = None if everything else _SHOWN
    tables = [_counts_table(check)] + [_speakers_table(check, most)] * (len(check.speakers) > 1)
    return Group(*tables, *(Text(line) for line in lines))


def _counts_table(check: CorpusCheck) -> Table:
    """Utterances per session and class; for IEMOCAP each cell is ``found / in the paper``."""
    papers: dict[str, tuple[int, ...]] = {}
    if are_comparable(check.classes, check.counts):
        papers = dict(PAPER_COUNTS)
    title = f"{check.name}: {check.num_utterances} utterances, {_speakers(check)}"
    if papers:
        title += "; found / in the paper"
    shown_footer = len(check.counts) > 1
    table = Table(
        title=title, title_justify="left", show_footer=shown_footer, box=box.SIMPLE, pad_edge=False
    )
    table.add_column("session", footer="all", no_wrap=True)
    for i, emotion in enumerate(check.classes):
        column = [counts[i] for counts in check.counts.values()]
        paper = [counts[i] for counts in papers.values()]
        footer = _beside(sum(column), paper)
        table.add_column(emotion, justify="right", min_width=_longest_word(emotion), footer=footer)
    total = [sum(counts) for counts in papers.values()]
    table.add_column("total", justify="right", footer=_beside(check.num_utterances, total))
    for session, counts in check.counts.items():
        paper_counts = papers.get(session)
        cells = [
            _beside(n, [paper_counts[i]] if paper_counts else []) for i, n in enumerate(counts)
        ]
        table.add_row(session, *cells, _beside(sum(counts), paper_counts or ()))
    return table


def _speakers(check: CorpusCheck) -> str:
    known = len(check.speakers.keys() - {"none"})
    return f"{known} speakers" if known else "speakers unknown"


def _longest_word(heading: str) -> int:
    return max(map(len, heading.split()))


def _speakers_table(check: CorpusCheck, most: int | None) -> Table:
    """Utterances per speaker and class; at most so many speakers (None: all), those with most."""
    ranked = sorted(check.speakers.items(), key=lambda item: -sum(item[1]))[:most]
    shown = {name for name, _ in ranked}
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("speaker", no_wrap=True)
    for heading in (*check.classes, "total"):
        table.add_column(heading, justify="right", min_width=_longest_word(heading))
    for name, counts in check.speakers.items():
        if name in shown:
            table.add_row(escape(name), *map(str, counts), str(sum(counts)))
    if len(shown) < len(check.speakers):
        table.caption = f"… and {len(check.speakers) - len(shown)} more speakers; --all shows them"
    return table


def _beside(found: int, paper: Sequence[int]) -> str:
    """``found / sum of paper``, or only ``found`` if `paper` is empty."""
    return f"{found} / {sum(paper)}" if paper else str(found)


def _content_lines(check: CorpusCheck) -> list[str]:
    lines = [f"fingerprint {check.fingerprint}"]
    if check.left_out:
        names = ", ".join(f"{name} {count}" for name, count in check.left_out.items())
        lines.append(f"left out, of no class: {names}")
    if check.unlisted:
        lines.append(f"{unlisted_text(check.unlisted)}; --all names them")
    if check.durations_s:
        seconds = _distribution_line(check.durations_s, " s", 2)
        lines.append(f"duration: {seconds}; {check.total_h:.2f} h")
    if check.words:
        words = _distribution_line(check.words, "", 1)
        lines.append(f"words per text: {words}; {check.num_word_types} different words")
    empty, tagged = len(check.empty_texts), len(check.tagged_texts)
    unread, clipped = len(check.unread_texts), len(check.clipped_texts)
    others = (
        f", {unread} in other letters, {clipped} with a few of them" if unread + clipped else ""
    )
    lines.append(f"texts: {empty} empty, {tagged} with tags{others}")
    if check.shared_texts:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in check.shared_texts.items())
        lines.append(f"text also in another session: {shares}")
    missing, unusable = len(check.missing_alignments), len(check.unusable_alignments)
    fallback = "; those fall back to uniform word times" if missing + unusable else ""
    lines.append(f"word alignments: {missing} missing, {unusable} unusable{fallback}")
    return lines


def _named_lines(check: CorpusCheck) -> list[str]:
    """The utterances that the other lines count, by id."""
    counted = {
        "recordings without a label": check.unlisted,
        "empty texts": check.empty_texts,
        "texts with tags": check.tagged_texts,
        "texts in other letters": check.unread_texts,
        "texts with a few other letters": check.clipped_texts,
        "word alignments that are missing": check.missing_alignments,
        "word alignments that are unusable": check.unusable_alignments,
    }
    return [f"{noun}: {', '.join(ids)}" for noun, ids in counted.items() if ids]


def _trust_lines(check: CorpusCheck, most: int | None) -> list[str]:
    lines = _difference_lines(check)
    lines += _shortened([str(same) for same in check.duplicates], "duplicates", most)
    lines += [f"folds {way.name}: {_verdict(way)}" for way in check.folds]
    lines += _shortened([f"note: {p}" for p in check.problems if not p.fatal], "notes", most)
    lines += _shortened([f"problem: {p}" for p in check.problems if p.fatal], "problems", most)
    return lines


def _verdict(way: FoldCheck) -> str:
    if way.obstacle:
        return f"impossible: {way.obstacle}"
    parts = [f"possible, {way.what}"]
    if way.gaps:
        parts.append(f"{first_gaps(way.gaps)}: UA there is the mean over the other classes")
    if way.shared:
        parts.append(way.shared)
    return "; ".join(parts)


def _difference_lines(check: CorpusCheck) -> list[str]:
    if not are_comparable(check.classes, check.counts):
        return []
    if not check.differences:
        return ["counts: those of the paper in every session and class"]
    if len(check.differences) == len(PAPER_COUNTS) * len(check.classes):
        return ["counts: not the paper's in any session and class; this is another corpus"]
    return [
        f"session {d.session}, {d.emotion}: {d.found} utterances, the paper has {d.expected}"
        for d in check.differences
    ]


def _shortened(lines: list[str], noun: str, most: int | None) -> list[str]:
    """At most so many lines (None: all), then one that counts the others."""
    if most is None or len(lines) <= most:
        return lines
    return [*lines[:most], f"… and {len(lines) - most} more {noun}; --all shows them"]


def _distribution_line(found: Distribution, unit: str, digits: int) -> str:
    numbers = {
        "mean": found.mean,
        "p50": found.p50,
        "p95": found.p95,
        "p99": found.p99,
        "max": found.max,
    }
    return ", ".join(f"{name} {value:.{digits}f}{unit}" for name, value in numbers.items())
