"""Examines a corpus: counts, durations, texts, word alignments, damaged audio, possible folds."""

import typing
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlt_ray.corpus.alignment import align
from mlt_ray.corpus.folds import gaps, make_folds, session_names
from mlt_ray.corpus.readers.iemocap import dialog_kind
from mlt_ray.corpus.recordings import Decoded, Progress, decode_all
from mlt_ray.corpus.texts import has_tags, same_words_key, spoken_words
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.errors import UserError
from mlt_ray.labels import CLASSES, PAPER_COUNTS, ClassCounts
from mlt_ray.spec import FoldSpec

PROTOCOLS: Final = typing.get_args(typing.get_type_hints(FoldSpec)["by"])
"""The values of `FoldSpec.by`."""

_USUAL_RATE_HZ: Final = 16_000
_USUAL_CHANNELS: Final = 1
_SHOWN: Final = 10  # lines of one kind that are printed; the others are only counted


class Difference(NamedTuple):
    """A session and class for which the corpus and the paper have different counts."""

    session: int
    emotion: str
    found: int
    expected: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Mean, percentiles and maximum over the utterances, in seconds or words."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, kw_only=True)
class CorpusCheck:
    """Findings about a corpus; utterances are named by id.

    `counts` has one entry per session (``none`` for utterances without one). `differences`
    compares IEMOCAP with the paper and is empty for other corpora. `durations_s` and `words` are
    ``None`` for an empty corpus. `shared_texts` is the share in [0, 1] of utterances with a text
    that another session has too: of ``all`` utterances, of ``impro`` and of ``script`` dialogs; it
    is empty without sessions. `duplicates` are groups with the same audio bytes. `protocols` gives
    for each protocol the reason why it cannot split the corpus, or ``None`` if it can; `gaps` those
    of the folds of each that can (`mlt_ray.corpus.folds.gaps`).
    """

    name: str
    fingerprint: str
    num_utterances: int
    num_speakers: int
    counts: Mapping[str, ClassCounts]
    left_out: Mapping[str, int]
    differences: tuple[Difference, ...]
    total_h: float
    durations_s: Distribution | None
    words: Distribution | None
    num_word_types: int
    empty_texts: tuple[str, ...]
    tagged_texts: tuple[str, ...]
    shared_texts: Mapping[str, float]
    missing_alignments: tuple[str, ...]
    unusable_alignments: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    problems: tuple[Problem, ...]
    protocols: Mapping[str, str | None]
    gaps: Mapping[str, tuple[str, ...]]

    @property
    def fatal(self) -> bool:
        """True if a problem would break a run or silently change its numbers."""
        return any(problem.fatal for problem in self.problems)


def check_corpus(corpus: Corpus, *, progress: Progress | None = None) -> CorpusCheck:
    """Examine a corpus and decode every recording from start to end.

    `progress` is called after each decoded file. Findings are returned, never raised.
    """
    utterances = corpus.utterances
    spoken = [spoken_words(u.text) for u in utterances]
    durations = [u.duration_s for u in utterances]
    counts = _counts(corpus)
    protocols: dict[str, str | None] = {}
    found_gaps = {}
    for by in PROTOCOLS:
        try:
            found_gaps[by] = gaps(corpus, make_folds(corpus, FoldSpec(by=by)))
            protocols[by] = None
        except UserError as error:
            protocols[by] = str(error)
    empty = () if utterances else (Problem(where=corpus.name, reason="holds no utterances"),)
    return CorpusCheck(
        name=corpus.name,
        fingerprint=corpus.fingerprint,
        num_utterances=len(corpus),
        num_speakers=len({u.speaker for u in utterances}),
        counts=counts,
        left_out=corpus.left_out,
        differences=_differences(counts),
        total_h=sum(durations) / 3600,
        durations_s=_distribution(durations),
        words=_distribution([len(words) for words in spoken]),
        num_word_types=len({word for words in spoken for word in words}),
        empty_texts=tuple(u.id for u, w in zip(utterances, spoken, strict=True) if not w),
        tagged_texts=tuple(u.id for u in utterances if has_tags(u.text)),
        shared_texts=_shared_texts(corpus),
        missing_alignments=tuple(u.id for u in utterances if u.alignment is None),
        unusable_alignments=_unusable_alignments(utterances, spoken),
        duplicates=_duplicates(utterances),
        problems=(
            *corpus.problems,
            *empty,
            *(_no_possible_folds(protocols) if utterances else ()),
            *_audio_notes(utterances, progress),
        ),
        protocols=protocols,
        gaps=found_gaps,
    )


def render(check: CorpusCheck) -> RenderableType:
    """The findings for a terminal: a table of counts, then one line per finding."""
    lines = [*_content_lines(check), *_trust_lines(check)]
    return Group(_counts_table(check), *(Text(line) for line in lines))


def _counts(corpus: Corpus) -> dict[str, ClassCounts]:
    found = Counter((u.session or "none", u.emotion) for u in corpus.utterances)
    sessions = [*session_names(corpus)]
    if any(not u.session for u in corpus.utterances):
        sessions.append("none")
    return {s: ClassCounts(*(found[s, emotion] for emotion in CLASSES)) for s in sessions}


def _differences(counts: Mapping[str, ClassCounts]) -> tuple[Difference, ...]:
    if not has_paper_sessions(counts):
        return ()
    return tuple(
        Difference(session, emotion, found, expected)
        for session, paper in PAPER_COUNTS.items()
        for emotion, found, expected in zip(CLASSES, counts[str(session)], paper, strict=True)
        if found != expected
    )


def has_paper_sessions(counts: Mapping[str, ClassCounts]) -> bool:
    """True if the sessions have IEMOCAP's names, so that the paper's counts can be compared."""
    return set(counts) == {str(session) for session in PAPER_COUNTS}


def _distribution(values: Sequence[float]) -> Distribution | None:
    if not values:
        return None
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return Distribution(
        mean=float(np.mean(values)), p50=p50, p95=p95, p99=p99, max=float(max(values))
    )


def _shared_texts(corpus: Corpus) -> dict[str, float]:
    keys = [same_words_key(u.text) for u in corpus.utterances]
    sessions: dict[str, set[str]] = defaultdict(set)
    for u, key in zip(corpus.utterances, keys, strict=True):
        if key and u.session:
            sessions[key].add(u.session)
    shared: dict[str, list[bool]] = defaultdict(list)
    for u, key in zip(corpus.utterances, keys, strict=True):
        if u.session:
            for name in filter(None, ("all", dialog_kind(u.dialog))):
                shared[name].append(len(sessions[key]) > 1)
    return {name: sum(flags) / len(flags) for name, flags in sorted(shared.items())}


def _unusable_alignments(
    utterances: Sequence[Utterance], spoken: Sequence[list[str]]
) -> tuple[str, ...]:
    return tuple(
        u.id
        for u, words in zip(utterances, spoken, strict=True)
        if u.alignment is not None and words and align(u, words) is None
    )


def _duplicates(utterances: Sequence[Utterance]) -> tuple[tuple[str, ...], ...]:
    ids = defaultdict(list)
    for u in utterances:
        ids[u.audio_sha256].append(u.id)
    return tuple(tuple(same) for same in ids.values() if len(same) > 1)


def _no_possible_folds(protocols: Mapping[str, str | None]) -> tuple[Problem, ...]:
    if all(protocols.values()):
        return (Problem(where="folds", reason="no protocol can split this corpus"),)
    return ()


def _audio_notes(utterances: Sequence[Utterance], progress: Progress | None) -> tuple[Problem, ...]:
    """Notes on recordings that are not mono at 16 kHz. Reading has left out damaged ones."""
    unusual = defaultdict(list)
    found = decode_all([u.audio for u in utterances], progress)
    for u, decoded in zip(utterances, found, strict=True):
        if isinstance(decoded, Decoded):
            format_ = decoded.sample_rate_hz, decoded.num_channels
            if format_ != (_USUAL_RATE_HZ, _USUAL_CHANNELS):
                unusual[format_].append(u.id)
    notes = []
    for (rate_hz, channels), ids in sorted(unusual.items()):
        where = f"{len(ids)} recordings such as {ids[0]}"
        usual = f"instead of {_USUAL_RATE_HZ} Hz, {_USUAL_CHANNELS} channel(s)"
        reason = f"{rate_hz} Hz, {channels} channel(s) {usual}"
        notes.append(Problem(where=where, reason=reason, fatal=False))
    return tuple(notes)


def _counts_table(check: CorpusCheck) -> Table:
    """Utterances per session and class; for IEMOCAP each cell is ``found / in the paper``."""
    papers = {}
    if has_paper_sessions(check.counts):
        papers = {str(session): counts for session, counts in PAPER_COUNTS.items()}
    title = f"{check.name}: {check.num_utterances} utterances, {check.num_speakers} speakers"
    if papers:
        title += "; found / in the paper"
    shown_footer = len(check.counts) > 1
    table = Table(title=title, title_justify="left", show_footer=shown_footer, box=box.SIMPLE)
    table.add_column("session", footer="all")
    for i, emotion in enumerate(CLASSES):
        column = [counts[i] for counts in check.counts.values()]
        paper = [counts[i] for counts in papers.values()]
        table.add_column(emotion, justify="right", footer=_beside(sum(column), paper))
    total = [sum(counts) for counts in papers.values()]
    table.add_column("total", justify="right", footer=_beside(check.num_utterances, total))
    for session, counts in check.counts.items():
        paper_counts = papers.get(session)
        cells = [
            _beside(n, [paper_counts[i]] if paper_counts else []) for i, n in enumerate(counts)
        ]
        table.add_row(session, *cells, _beside(sum(counts), paper_counts or ()))
    return table


def _beside(found: int, paper: Sequence[int]) -> str:
    """``found / sum of paper``, or only ``found`` if `paper` is empty."""
    return f"{found} / {sum(paper)}" if paper else str(found)


def _content_lines(check: CorpusCheck) -> list[str]:
    lines = [f"fingerprint {check.fingerprint}"]
    if check.left_out:
        codes = ", ".join(f"{code} {count}" for code, count in check.left_out.items())
        lines.append(f"left out, not of the four classes: {codes}")
    if check.durations_s:
        seconds = _distribution_line(check.durations_s, " s", 2)
        lines.append(f"duration: {seconds}; {check.total_h:.2f} h")
    if check.words:
        words = _distribution_line(check.words, "", 1)
        lines.append(f"words per text: {words}; {check.num_word_types} different words")
    lines.append(f"texts: {len(check.empty_texts)} empty, {len(check.tagged_texts)} with tags")
    if check.shared_texts:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in check.shared_texts.items())
        lines.append(f"text also in another session: {shares}")
    missing, unusable = len(check.missing_alignments), len(check.unusable_alignments)
    fallback = "; those fall back to uniform word times" if missing + unusable else ""
    lines.append(f"word alignments: {missing} missing, {unusable} unusable{fallback}")
    return lines


def _trust_lines(check: CorpusCheck) -> list[str]:
    lines = _difference_lines(check)
    lines += _shortened([f"same audio: {', '.join(ids)}" for ids in check.duplicates], "duplicates")
    for by, obstacle in check.protocols.items():
        verdict = f"impossible: {obstacle}" if obstacle else "possible"
        if check.gaps.get(by):
            verdict += f"; {', '.join(check.gaps[by])}: UA there is the mean over the other classes"
        lines.append(f"folds by {by}: {verdict}")
    lines += _shortened([f"note: {p}" for p in check.problems if not p.fatal], "notes")
    lines += _shortened([f"problem: {p}" for p in check.problems if p.fatal], "problems")
    return lines


def _difference_lines(check: CorpusCheck) -> list[str]:
    if not has_paper_sessions(check.counts):
        return []
    if not check.differences:
        return ["counts: those of the paper in every session and class"]
    if len(check.differences) == len(PAPER_COUNTS) * len(CLASSES):
        return ["counts: not the paper's in any session and class; this is another corpus"]
    return [
        f"session {d.session}, {d.emotion}: {d.found} utterances, the paper has {d.expected}"
        for d in check.differences
    ]


def _shortened(lines: list[str], noun: str) -> list[str]:
    """The first lines, then one that counts the others."""
    hidden = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"… and {hidden} more {noun}"] if hidden > 0 else lines


def _distribution_line(found: Distribution, unit: str, digits: int) -> str:
    numbers = {
        "mean": found.mean,
        "p50": found.p50,
        "p95": found.p95,
        "p99": found.p99,
        "max": found.max,
    }
    return ", ".join(f"{name} {value:.{digits}f}{unit}" for name, value in numbers.items())
