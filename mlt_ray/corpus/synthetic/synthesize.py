"""Writes a corpus in IEMOCAP's layout from lines of text, spoken by ten synthetic voices."""

import shutil
import signal
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from mlt_ray.corpus.alignment import FRAME_S, WordTime
from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples
from mlt_ray.corpus.espeak import check_installed, languages
from mlt_ray.corpus.synthetic.lines import Line
from mlt_ray.corpus.synthetic.speech import Prosody, say
from mlt_ray.corpus.synthetic.voices import SPEAKER_RATE_WPM, VOICES, draw_prosody
from mlt_ray.errors import UserError
from mlt_ray.machine import usable_cpus

_FRAME_SAMPLES: Final = round(FRAME_S * SAMPLE_RATE_HZ)
_ROOM_RMS: Final = 0.0015
_LEAD_S: Final = 0.1
_TAIL_S: Final = 0.1
_UNSPOKEN_S: Final = 0.3
_TURN_GAP_S: Final = 0.5
_DIALOG_LENGTH: Final = 40
_LINES_PER_TASK: Final = 16
_LINES_PER_PROCESS: Final = 100  # starting a process takes as long as speaking about 100 lines

_SPEAKER_STREAM, _LINE_STREAM, _SOUND_STREAM = range(3)

# IEMOCAP's code and category of each emotion, then valence, activation and dominance (1 to 5).
_LABELS: Final = {
    "angry": ("ang", "Anger", (2, 4, 4)),
    "happy": ("hap", "Happiness", (4, 3, 3)),
    "neutral": ("neu", "Neutral", (3, 2, 3)),
    "sad": ("sad", "Sadness", (2, 2, 2)),
}

AMERICAN: Final = "en-us"
"""The language that is spoken unless another is named."""

OnSpoken = Callable[[int], None]
"""Called with the number of utterances spoken so far."""


def write_corpus(
    lines: Sequence[Line],
    out: Path,
    *,
    seed: int = 0,
    language: str = AMERICAN,
    workers: int | None = None,
    progress: OnSpoken | None = None,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Speak all lines and write them to the new folder `out`, in the layout of IEMOCAP.

    `language` is a code of `mlt_ray.corpus.espeak.languages`. The bytes depend only on the lines,
    the language and the seed (not negative), not on `workers`, the number of processes (default:
    one per CPU, fewer for a few lines). `finish` is called with the
    complete folder and may change it before it is renamed to `out`. Raises `UserError` if `out`
    has content or cannot be written, and without espeak-ng. After an error or interruption there is
    no `out`.
    """
    check_installed(f"corpus {out}")
    with _staged(out) as root:
        recordings = _plan(lines, seed, language)
        for folder in {root / file.parent for r in recordings for file in (r.wav, r.wdseg)}:
            folder.mkdir(parents=True)
        durations_s = _record_all(recordings, root, workers, progress)
        _write_dialogs(recordings, durations_s, root)
        if finish is not None:
            finish(root)


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """An utterance to be spoken; the paths of its files are relative to the corpus."""

    id: str
    dialog: str
    line: Line
    voice: str
    text: str
    prosody: Prosody
    seed: tuple[int, int, int]

    @property
    def wav(self) -> Path:
        return self._file("wav", ".wav")

    @property
    def wdseg(self) -> Path:
        return self._file("ForcedAlignment", ".wdseg")

    def _file(self, kind: str, suffix: str) -> Path:
        sentences = Path(f"Session{self.line.session}", "sentences")
        return sentences / kind / self.dialog / f"{self.id}{suffix}"


def _plan(lines: Sequence[Line], seed: int, language: str) -> list[_Recording]:
    """Id, dialog, voice, prosody and seed of each line's recording, in the order of the lines."""
    rates_wpm = {
        speaker: np.random.default_rng((seed, _SPEAKER_STREAM, i)).normal(0, SPEAKER_RATE_WPM)
        for i, speaker in enumerate(VOICES)
    }
    num_lines: dict[tuple[int, bool], int] = {}
    turns: dict[tuple[str, str], int] = {}
    recordings = []
    for i, line in enumerate(lines):
        kind = line.session, line.scripted
        dialog = _dialog(line, num_lines.setdefault(kind, 0) // _DIALOG_LENGTH)
        num_lines[kind] += 1
        speaker = line.speaker[-1]
        turn = turns.setdefault((dialog, speaker), 0)
        turns[dialog, speaker] += 1
        prosody = line.prosody or draw_prosody(
            line.emotion,
            VOICES[line.speaker],
            np.random.default_rng((seed, _LINE_STREAM, i)),
            rates_wpm[line.speaker],
        )
        recordings.append(
            _Recording(
                id=f"{dialog}_{speaker}{turn:03d}",
                dialog=dialog,
                line=line,
                voice=f"{languages()[language].voice}+{VOICES[line.speaker].variant}",
                text=" ".join(line.text.split()),
                prosody=prosody,
                seed=(seed, _SOUND_STREAM, i),
            )
        )
    return recordings


def _dialog(line: Line, index: int) -> str:
    """Name of the session's dialog; its F or M names the wearer of the markers, in turns."""
    number, wearer = index // 2 + 1, "FM"[index % 2]
    scene = f"script{number:02d}_1" if line.scripted else f"impro{number:02d}"
    return f"Ses0{line.session}{wearer}_{scene}"


def _record_all(
    recordings: Sequence[_Recording],
    root: Path,
    workers: int | None,
    progress: OnSpoken | None,
) -> list[float]:
    """Write audio and alignment of all recordings; returns their durations in seconds."""
    tasks = [
        recordings[i : i + _LINES_PER_TASK] for i in range(0, len(recordings), _LINES_PER_TASK)
    ]
    if workers is None:
        workers = min(usable_cpus(), len(recordings) // _LINES_PER_PROCESS)
    durations_s: list[float] = []
    with closing(_perform(tasks, root, min(workers, len(tasks)))) as results:
        for done in results:
            durations_s += done
            if progress is not None:
                progress(len(durations_s))
    return durations_s


def _perform(
    tasks: Sequence[Sequence[_Recording]], root: Path, workers: int
) -> Generator[list[float]]:
    """Yield the durations of each task, in order, from `workers` processes."""
    if workers <= 1:
        yield from (_record(task, root) for task in tasks)
        return
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield from pool.map(_record, tasks, [root] * len(tasks))
    finally:
        # An interruption waits only for the tasks that have begun.
        pool.shutdown(cancel_futures=True)


def _record(task: Sequence[_Recording], root: Path) -> list[float]:
    """Write audio and alignment of some recordings; returns their durations in seconds."""
    # Imported here: a machine that only trains has no soundfile.
    import soundfile as sf

    durations_s = []
    for recording in task:
        line = recording.line
        speech, words = say(line.sound or recording.text, recording.voice, recording.prosody)
        waveform = _in_a_room(speech, np.random.default_rng(recording.seed))
        sf.write(root / recording.wav, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
        aligned = () if line.sound else words
        alignment = _wdseg(aligned, num_frames=len(waveform) // _FRAME_SAMPLES)
        (root / recording.wdseg).write_text(alignment, encoding="utf-8")
        durations_s.append(len(waveform) / SAMPLE_RATE_HZ)
    return durations_s


def _in_a_room(speech: Samples, rng: np.random.Generator) -> Samples:
    """The speech (N,) with silence before and after it and faint noise; noise alone if N is 0."""
    silence_s = (_LEAD_S, _TAIL_S) if len(speech) else (_UNSPOKEN_S, 0.0)
    padded = np.pad(speech, [round(s * SAMPLE_RATE_HZ) for s in silence_s])
    noise = rng.standard_normal(len(padded), dtype=np.float32) * np.float32(_ROOM_RMS)
    return np.clip(padded + noise, -0.99, 0.99)


def _wdseg(words: Sequence[WordTime], num_frames: int) -> str:
    """A Sphinx word segmentation; the times of `words` count from the end of the lead.

    Frames are counted from 0, and a word's last frame belongs to it. There is no recogniser, so
    all scores are 0.
    """
    rows: list[tuple[int, int, str]] = []
    frame = 0
    for word in words:
        start = max(frame, round((_LEAD_S + word.start_s) / FRAME_S))
        if start > frame:
            rows.append((frame, start - 1, "<sil>" if rows else "<s>"))
        frame = max(start + 1, round((_LEAD_S + word.end_s) / FRAME_S))
        rows.append((start, frame - 1, word.word.upper()))
    if not rows:
        rows.append((0, num_frames // 2 - 1, "<s>"))
        frame = num_frames // 2
    if frame < num_frames:
        rows.append((frame, num_frames - 1, "</s>"))
    body = "".join(f"{first:>8}{last:>8}{0:>12} {word}\n" for first, last, word in rows)
    return f"{'SFrm':>8}{'EFrm':>8}{'SegAScr':>12} Word\n{body}Total score: {0:>12}\n"


def _write_dialogs(
    recordings: Sequence[_Recording], durations_s: Sequence[float], root: Path
) -> None:
    """Write the transcript and the emotion labels of every dialog."""
    pairs = sorted(zip(recordings, durations_s, strict=True), key=lambda pair: pair[0].dialog)
    for dialog, group in groupby(pairs, key=lambda pair: pair[0].dialog):
        evaluation = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        transcript = []
        clock_s = _TURN_GAP_S
        for recording, duration_s in group:
            end_s = clock_s + duration_s
            span = f"[{clock_s:08.4f}-{end_s:08.4f}]"
            transcript.append(f"{recording.id} {span}: {recording.text}")
            evaluation += _judgement(recording, clock_s, end_s)
            clock_s = end_s + _TURN_GAP_S
            session = f"Session{recording.line.session}"
        for folder, content in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
            file = root / session / "dialog" / folder / f"{dialog}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(content) + "\n", encoding="utf-8")


def _judgement(recording: _Recording, start_s: float, end_s: float) -> list[str]:
    """Lines of an utterance for ``EmoEvaluation``: the label, and raters who all agree."""
    code, category, (valence, activation, dominance) = _LABELS[recording.line.emotion]
    mean = f"[{valence:.4f}, {activation:.4f}, {dominance:.4f}]"
    attributes = f"val {valence}; act {activation}; dom {dominance};\t()"
    return [
        f"[{start_s:.4f} - {end_s:.4f}]\t{recording.id}\t{code}\t{mean}",
        *(f"C-E{rater}:\t{category};\t()" for rater in (2, 3, 4)),
        *(f"A-E{rater}:\t{attributes}" for rater in (3, 4)),
        "",
    ]


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside `out`: renamed to `out` at the end, removed after an error."""
    out = out.resolve()
    stage = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}"
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(
                f"{out}: expected a new or empty folder, got one with content; name another or "
                "remove it"
            )
        stage.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{out}: expected a folder that can be written, got: {error.strerror}; name another"
        ) from error
    try:
        yield stage
        if out.exists():
            out.rmdir()
        stage.rename(out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
