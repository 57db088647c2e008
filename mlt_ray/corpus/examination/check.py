"""Examines a corpus: counts, durations, texts, word alignments, damaged audio, possible folds."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mlt_ray.corpus.alignment import align
from mlt_ray.corpus.examination.paper_counts import PAPER_COUNTS, Difference, differences
from mlt_ray.corpus.fold_notes import describe, gaps, shared_text, sizes_text
from mlt_ray.corpus.folds import session_names, speaker_names, try_folds
from mlt_ray.corpus.protocols import PROTOCOLS
from mlt_ray.corpus.readers.iemocap import dialog_kind
from mlt_ray.corpus.recordings import Progress, hear_all
from mlt_ray.corpus.speakers import alike_line
from mlt_ray.corpus.texts import has_tags
from mlt_ray.corpus.unread import MOST_UNREAD, is_unread, too_many_unread, unread_text
from mlt_ray.corpus.utterance import Corpus, Heard, Problem, Utterance
from mlt_ray.corpus.words import dropped_letters, is_word, tokenize
from mlt_ray.parsing import parse
from mlt_ray.spec import ENGLISH, FoldSpec

_USUAL_RATE_HZ: Final = 16_000
_USUAL_CHANNELS: Final = 1
_EXCERPT: Final = 30  # characters of a text that are shown


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
class FoldCheck:
    """Whether a corpus can be divided into folds in one way, which `name` names.

    `obstacle` says why it cannot. Otherwise `what` describes the folds, `gaps` are the classes that
    dev or test of some fold lacks, and `shared` says what train has of the test utterances.
    """

    name: str
    what: str = ""
    obstacle: str | None = None
    gaps: tuple[str, ...] = ()
    shared: str = ""


@dataclass(frozen=True, kw_only=True)
class CorpusCheck:
    """Findings about the utterances of a corpus that count; they are named by id.

    `counts` and `speakers` have the numbers of utterances per class of each session and speaker
    (``none`` for utterances without one); `left_out` counts by emotion. `differences`
    compares IEMOCAP with the paper and is empty for other corpora. `durations_s` and `words` are
    ``None`` for an empty corpus. `shared_texts` is the share in [0, 1] of utterances with a text
    that another session has too: of ``all`` utterances, of ``impro`` and of ``script`` dialogs; it
    is empty without sessions. Words and texts are counted as training reads them
    (`mlt_ray.corpus.words`): `empty_texts` hold no word, `unread_texts` are in other letters, and
    `clipped_texts` lose single letters. `duplicates`: contradictions come first. `folds` has the
    ways to divide the corpus: each of `FoldSpec.by`, and the named protocols. `unlisted` are
    recordings without a label, by path.
    """

    name: str
    fingerprint: str
    num_utterances: int
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    speakers: Mapping[str, tuple[int, ...]]
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
    folds: tuple[FoldCheck, ...]
    unlisted: tuple[str, ...] = ()

    @property
    def fatal(self) -> bool:
        """True if a problem would break a run or silently change its numbers."""
        return any(problem.fatal for problem in self.problems)


def check_corpus(
    corpus: Corpus, *, language: str = ENGLISH, progress: Progress | None = None
) -> CorpusCheck:
    """Examine what counts of a corpus (`labelling.select`); recordings are decoded once.

    Texts are read as training reads those in `language`. `progress` is called after each recording.
    Findings are returned, never raised.
    """
    utterances = corpus.utterances
    spoken = [list(filter(is_word, tokenize(u.text, language))) for u in utterances]
    unread = tuple(u.id for u in utterances if is_unread(u.text, language))
    clipped = [
        u
        for u in utterances
        if dropped_letters(u.text, language) and not is_unread(u.text, language)
    ]
    durations = [u.duration_s for u in utterances]
    counts = _counts(corpus, session_names(corpus), [u.session for u in utterances])
    folds = tuple(_check_folds(corpus, name, spec) for name, spec in _ways(corpus).items())
    heard = list(hear_all(utterances, progress))
    empty = () if utterances else (Problem(where=corpus.name, reason="holds no utterances"),)
    return CorpusCheck(
        name=corpus.name,
        fingerprint=corpus.fingerprint,
        num_utterances=len(corpus),
        classes=corpus.classes,
        counts=counts,
        speakers=_counts(corpus, speaker_names(corpus), [u.speaker for u in utterances]),
        left_out=corpus.left_out,
        differences=differences(corpus.classes, counts),
        total_h=sum(durations) / 3600,
        durations_s=_distribution(durations),
        words=_distribution([len(words) for words in spoken]),
        num_word_types=len({word for words in spoken for word in words}),
        empty_texts=tuple(
            u.id
            for u, words in zip(utterances, spoken, strict=True)
            if not words and not is_unread(u.text, language)
        ),
        tagged_texts=tuple(u.id for u in utterances if has_tags(u.text)),
        unread_texts=unread,
        clipped_texts=tuple(u.id for u in clipped),
        shared_texts=_shared_texts(corpus),
        missing_alignments=tuple(u.id for u in utterances if u.alignment is None),
        unusable_alignments=_unusable_alignments(utterances, spoken, language),
        duplicates=_duplicates(utterances, heard),
        problems=(
            *corpus.problems,
            *empty,
            *(_no_possible_folds(folds) if utterances else ()),
            *_text_notes(corpus, clipped, language),
            *_session_note(corpus),
            *_name_notes(utterances),
            *_audio_notes(utterances, heard),
        ),
        folds=folds,
        unlisted=corpus.unlisted,
    )


def _counts(
    corpus: Corpus, names: Sequence[str], named: Sequence[str | None]
) -> dict[str, tuple[int, ...]]:
    """Utterances per class of each name; ``none`` for those without one."""
    pairs = zip(named, corpus.utterances, strict=True)
    found = Counter((name or "none", u.emotion) for name, u in pairs)
    without = [] if all(named) else ["none"]
    return {
        name: tuple(found[name, emotion] for emotion in corpus.classes)
        for name in (*names, *without)
    }


def _ways(corpus: Corpus) -> dict[str, FoldSpec]:
    """Specifications of folds to try, by what people call them."""
    ways = {f"by {by}": FoldSpec(by=by) for by in ("session", "speaker", "stratified")}
    parts = {part for u in corpus.utterances for part in u.parts}
    if parts:
        ways["by given"] = FoldSpec(by="given")
    for name, values in PROTOCOLS.items():
        spec = parse(FoldSpec, values, name)
        # With dev parts of its own, the corpus is divided as it says.
        if spec not in ways.values() and (spec.by != "given" or (parts and "dev" not in parts)):
            ways[f"protocol {name}"] = spec
    return ways


def _check_folds(corpus: Corpus, name: str, spec: FoldSpec) -> FoldCheck:
    folds = try_folds(corpus, spec)
    if isinstance(folds, str):
        return FoldCheck(name=name, obstacle=folds)
    return FoldCheck(
        name=name,
        what=f"{describe(replace(spec, num_folds=len(folds)))}; {sizes_text(folds)}",
        gaps=gaps(corpus, folds),
        shared=shared_text(corpus, folds),
    )


def _distribution(values: Sequence[float]) -> Distribution | None:
    if not values:
        return None
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return Distribution(
        mean=float(np.mean(values)), p50=p50, p95=p95, p99=p99, max=float(max(values))
    )


def _shared_texts(corpus: Corpus) -> dict[str, float]:
    keys = corpus.text_keys
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
    utterances: Sequence[Utterance], spoken: Sequence[list[str]], language: str
) -> tuple[str, ...]:
    return tuple(
        u.id
        for u, words in zip(utterances, spoken, strict=True)
        if u.alignment is not None and words and align(u, tokenize(u.text, language)) is None
    )


def _duplicates(
    utterances: Sequence[Utterance], heard: Sequence[Heard | None]
) -> tuple[SameAudio, ...]:
    same: dict[bytes | str, list[Utterance]] = defaultdict(list)
    for u, found in zip(utterances, heard, strict=True):
        same[found.sound if found else u.audio_sha256].append(u)
    groups = [SameAudio(tuple(group)) for group in same.values() if len(group) > 1]
    return tuple(sorted(groups, key=lambda group: not group.is_contradiction))


def _no_possible_folds(folds: Sequence[FoldCheck]) -> tuple[Problem, ...]:
    if all(way.obstacle for way in folds):
        return (Problem(where="folds", reason="no protocol can split this corpus"),)
    return ()


def _text_notes(corpus: Corpus, clipped: Sequence[Utterance], language: str) -> Iterator[Problem]:
    """Notes on letters that training does not read."""
    if unread := unread_text(corpus, language):
        if too_many_unread(corpus):
            unread += (
                f"; with more than {MOST_UNREAD:.0%}, rows that read words want --unread-texts"
            )
        yield Problem(where="texts", reason=unread, fatal=False)
    if clipped:
        first = f"{dropped_letters(clipped[0].text)!r} of {clipped[0].text[:_EXCERPT]!r}"
        reason = f"{len(clipped)} lose letters in training, such as {first} ({clipped[0].id})"
        yield Problem(where="texts", reason=reason, fatal=False)


def _session_note(corpus: Corpus) -> Iterator[Problem]:
    """A note on sessions of IEMOCAP's that are not there."""
    found = set(session_names(corpus))
    is_iemocap = any(dialog_kind(u.dialog) for u in corpus.utterances)
    if is_iemocap and found < PAPER_COUNTS.keys():
        missing = ", ".join(sorted(PAPER_COUNTS.keys() - found))
        reason = f"{missing} of IEMOCAP's five are not there, or nothing in them counts"
        yield Problem(where="sessions", reason=reason, fatal=False)


def _name_notes(utterances: Sequence[Utterance]) -> Iterator[Problem]:
    """Notes on names that may mean one speaker, session or dialog."""
    for noun in ("speaker", "session", "dialog"):
        names = filter(None, (getattr(u, noun) for u in utterances))
        if line := alike_line(f"{noun}s", names):
            yield Problem(where="names", reason=line, fatal=False)


def _audio_notes(
    utterances: Sequence[Utterance], heard: Sequence[Heard | None]
) -> tuple[Problem, ...]:
    """Notes on recordings that are not mono at 16 kHz. Reading has left out damaged ones."""
    unusual = defaultdict(list)
    for u, found in zip(utterances, heard, strict=True):
        if found:
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
