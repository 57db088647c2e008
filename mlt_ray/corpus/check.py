"""Examines a corpus: counts, durations, texts, word alignments, damaged audio, possible folds."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlt_ray.corpus.alignment import align
from mlt_ray.corpus.folds import PROTOCOLS, gaps, session_names, try_folds
from mlt_ray.corpus.readers.iemocap import dialog_kind
from mlt_ray.corpus.recordings import Decoded, Progress, decode_all
from mlt_ray.corpus.speakers import alike_line
from mlt_ray.corpus.texts import has_tags, same_words_key
from mlt_ray.corpus.unread import MOST_UNREAD, is_unread, too_many_unread, unread_text
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.corpus.words import dropped_letters, is_word, tokenize
from mlt_ray.labels import FOUR, PAPER_COUNTS, ClassCounts
from mlt_ray.spec import FoldSpec

_USUAL_RATE_HZ: Final = 16_000
_USUAL_CHANNELS: Final = 1
_SHOWN: Final = 10  # lines of one kind that are printed; the others are only counted
_EXCERPT: Final = 30  # characters of a text that are shown


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


@dataclass(frozen=True)
class SameAudio:
    """Two or more utterances with one sound."""

    utterances: tuple[Utterance, ...]

    def __str__(self) -> str:
        told = {"labels": self._ids_by("emotion"), "speakers": self._ids_by("speaker")}
        parts = [
            f", {noun} " + " and ".join(f"{name} ({', '.join(ids)})" for name, ids in found.items())
            for noun, found in told.items()
            if len(found) > 1
        ]
        listed = "".join(parts) or f": {', '.join(u.id for u in self.utterances)}"
        return f"same audio{listed}{self._apart()}"

    @property
    def is_contradiction(self) -> bool:
        """True if they have different labels."""
        return len(self._ids_by("emotion")) > 1

    def _ids_by(self, field: str) -> dict[str, list[str]]:
        ids = defaultdict(list)
        for u in self.utterances:
            ids[getattr(u, field)].append(u.id)
        return ids

    def _apart(self) -> str:
        """That folds take them for different recordings, if their files differ."""
        if len({u.audio_sha256 for u in self.utterances}) == 1:
            return ""
        return "; the files differ, so no check of folds keeps them in one part: remove one"


@dataclass(frozen=True, kw_only=True)
class CorpusCheck:
    """Findings about a corpus; utterances are named by id.

    `counts` has one entry per session (``none`` for utterances without one). `differences`
    compares IEMOCAP with the paper and is empty for other corpora. `durations_s` and `words` are
    ``None`` for an empty corpus. `shared_texts` is the share in [0, 1] of utterances with a text
    that another session has too: of ``all`` utterances, of ``impro`` and of ``script`` dialogs; it
    is empty without sessions. Words and texts are counted as training reads them
    (`mlt_ray.corpus.words`): `empty_texts` hold no word, `unread_texts` are in other letters, and
    `clipped_texts` lose single letters. `duplicates`: contradictions come first. `protocols` gives
    for each protocol the reason why it cannot split the corpus, or ``None`` if it can; then `gaps`
    are the classes that dev or test of some fold lacks.
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
    unread_texts: tuple[str, ...]
    clipped_texts: tuple[str, ...]
    shared_texts: Mapping[str, float]
    missing_alignments: tuple[str, ...]
    unusable_alignments: tuple[str, ...]
    duplicates: tuple[SameAudio, ...]
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
    spoken = [list(filter(is_word, tokenize(u.text))) for u in utterances]
    unread = tuple(u.id for u in utterances if is_unread(u.text))
    clipped = [u for u in utterances if dropped_letters(u.text) and not is_unread(u.text)]
    durations = [u.duration_s for u in utterances]
    counts = _counts(corpus)
    folds = {by: try_folds(corpus, FoldSpec(by=by)) for by in PROTOCOLS}
    protocols = {by: found if isinstance(found, str) else None for by, found in folds.items()}
    decoded = list(decode_all([u.audio for u in utterances], progress))
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
        empty_texts=tuple(
            u.id
            for u, words in zip(utterances, spoken, strict=True)
            if not words and not is_unread(u.text)
        ),
        tagged_texts=tuple(u.id for u in utterances if has_tags(u.text)),
        unread_texts=unread,
        clipped_texts=tuple(u.id for u in clipped),
        shared_texts=_shared_texts(corpus),
        missing_alignments=tuple(u.id for u in utterances if u.alignment is None),
        unusable_alignments=_unusable_alignments(utterances, spoken),
        duplicates=_duplicates(utterances, decoded),
        problems=(
            *corpus.problems,
            *empty,
            *(_no_possible_folds(protocols) if utterances else ()),
            *_text_notes(corpus, clipped),
            *_name_notes(utterances),
            *_audio_notes(utterances, decoded),
        ),
        protocols=protocols,
        gaps={by: gaps(corpus, found) for by, found in folds.items() if not isinstance(found, str)},
    )


def render(check: CorpusCheck, *, everything: bool = False) -> RenderableType:
    """The findings for a terminal: a table of counts, then one line per finding.

    With `everything`, long lists are not cut, and utterances that are only counted are named.
    """
    lines = _content_lines(check)
    if everything:
        lines += _named_lines(check)
    lines += _trust_lines(check, None if everything else _SHOWN)
    return Group(_counts_table(check), *(Text(line) for line in lines))


def _counts(corpus: Corpus) -> dict[str, ClassCounts]:
    found = Counter((u.session or "none", u.emotion) for u in corpus.utterances)
    sessions = [*session_names(corpus)]
    if any(not u.session for u in corpus.utterances):
        sessions.append("none")
    return {s: ClassCounts(*(found[s, emotion] for emotion in FOUR)) for s in sessions}


def _differences(counts: Mapping[str, ClassCounts]) -> tuple[Difference, ...]:
    if not has_paper_sessions(counts):
        return ()
    return tuple(
        Difference(session, emotion, found, expected)
        for session, paper in PAPER_COUNTS.items()
        for emotion, found, expected in zip(FOUR, counts[str(session)], paper, strict=True)
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
        if u.alignment is not None and words and align(u, tokenize(u.text)) is None
    )


def _duplicates(
    utterances: Sequence[Utterance], decoded: Sequence[Decoded | str]
) -> tuple[SameAudio, ...]:
    same = defaultdict(list)
    for u, found in zip(utterances, decoded, strict=True):
        same[found.sound if isinstance(found, Decoded) else u.audio_sha256].append(u)
    groups = [SameAudio(tuple(group)) for group in same.values() if len(group) > 1]
    return tuple(sorted(groups, key=lambda group: not group.is_contradiction))


def _no_possible_folds(protocols: Mapping[str, str | None]) -> tuple[Problem, ...]:
    if all(protocols.values()):
        return (Problem(where="folds", reason="no protocol can split this corpus"),)
    return ()


def _text_notes(corpus: Corpus, clipped: Sequence[Utterance]) -> Iterator[Problem]:
    """Notes on letters that training does not read."""
    if unread := unread_text(corpus):
        if too_many_unread(corpus):
            unread += (
                f"; with more than {MOST_UNREAD:.0%}, rows that read words want --unread-texts"
            )
        yield Problem(where="texts", reason=unread, fatal=False)
    if clipped:
        first = f"{dropped_letters(clipped[0].text)!r} of {clipped[0].text[:_EXCERPT]!r}"
        reason = f"{len(clipped)} lose letters in training, such as {first} ({clipped[0].id})"
        yield Problem(where="texts", reason=reason, fatal=False)


def _name_notes(utterances: Sequence[Utterance]) -> Iterator[Problem]:
    """Notes on names that may mean one speaker, session or dialog."""
    for noun in ("speaker", "session", "dialog"):
        names = filter(None, (getattr(u, noun) for u in utterances))
        if line := alike_line(f"{noun}s", names):
            yield Problem(where="names", reason=line, fatal=False)


def _audio_notes(
    utterances: Sequence[Utterance], decoded: Sequence[Decoded | str]
) -> tuple[Problem, ...]:
    """Notes on recordings that are not mono at 16 kHz. Reading has left out damaged ones."""
    unusual = defaultdict(list)
    for u, found in zip(utterances, decoded, strict=True):
        if isinstance(found, Decoded):
            format_ = found.sample_rate_hz, found.num_channels
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
    for i, emotion in enumerate(FOUR):
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
    for by, obstacle in check.protocols.items():
        verdict = f"impossible: {obstacle}" if obstacle else "possible"
        if lacking := check.gaps.get(by):
            verdict += f"; {', '.join(lacking)}: UA there is the mean over the other classes"
        lines.append(f"folds by {by}: {verdict}")
    lines += _shortened([f"note: {p}" for p in check.problems if not p.fatal], "notes", most)
    lines += _shortened([f"problem: {p}" for p in check.problems if p.fatal], "problems", most)
    return lines


def _difference_lines(check: CorpusCheck) -> list[str]:
    if not has_paper_sessions(check.counts):
        return []
    if not check.differences:
        return ["counts: those of the paper in every session and class"]
    if len(check.differences) == len(PAPER_COUNTS) * len(FOUR):
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
