"""What a trained model says of recordings, from the arguments of ``predict`` to predictions."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mlt_ray.corpus.audio import import_torchaudio
from mlt_ray.corpus.words import EMPTY, tokenize
from mlt_ray.errors import UserError
from mlt_ray.inference.clips import Clip, find_clips, heard, with_text, with_texts
from mlt_ray.inference.prediction import Prediction
from mlt_ray.inference.windows import Cut, Windowing, cut, transcribed
from mlt_ray.machine import torch_threads, usable_cpus
from mlt_ray.workflows.model_choice import ModelChoice, Tell

if TYPE_CHECKING:
    from mlt_ray.encoders.recognition import Recogniser
    from mlt_ray.inference.predictor import Predictor
    from mlt_ray.spec import RunSpec

BLOCK: Final = 64
"""Recordings that are predicted before their predictions are given."""

BLOCK_HEARD: Final = 8
"""The same where they are transcribed, which takes seconds for each."""

BLOCK_S: Final = 1800.0
"""Seconds of audio in a block, at most, if it has several recordings."""

Progress = Callable[[str, int, int], None]
"""Called with what is counted, how many are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the verb was asked for.

    `text` is that of the only recording, `texts` a CSV file of keys and texts, and `asr` a model
    that transcribes recordings without a text.
    """

    places: Sequence[str]
    model: ModelChoice
    text: str | None = None
    texts: Path | None = None
    asr: str | None = None
    windowing: Windowing = field(default_factory=Windowing)

    def __post_init__(self) -> None:
        if self.text is not None and (self.texts or self.asr):
            raise UserError("--text: expected no --texts or --asr beside it; leave one out")


def predict(request: Request, stream: BinaryIO, tell: Tell) -> "Work":
    """Find the recordings and open the model; nothing is predicted yet.

    Headers are read before all else, so that most recordings that cannot be used are told at once.
    Raises `UserError` if none can be used, and for a mistake that is not one recording's.
    """
    clips = _with_texts(find_clips(request.places, stream), request, tell)
    found = len(clips)
    clips = [clip for clip in clips if _is_readable(clip, tell if found > 1 else _fail)]
    if not clips:
        raise UserError(f"expected a recording that can be read, got none of {found}")
    # Told once nothing can be wrong any more: an error is one line.
    notes: list[str] = []
    predictor = request.model.open(notes.append)
    recogniser = None
    if predictor.model.reads_text:
        _check_texts(clips, request, predictor.model.name)
        _tell_unread(clips, predictor.model.spec, notes.append)
        recogniser = _recogniser(clips, request, predictor)
    else:
        given = {"--text": request.text, "--texts": request.texts, "--asr": request.asr}
        for option in (name for name, value in given.items() if value):
            notes.append(f"{predictor.model.name} reads no text: {option} changes nothing")
    for note in notes:
        tell(note)
    return Work(
        clips=clips,
        predictor=predictor,
        recogniser=recogniser,
        windowing=request.windowing,
        tell=tell,
        num_clips=found,
        failed=found - len(clips),
    )


def _fail(line: str) -> None:
    raise UserError(line)


def _is_readable(clip: Clip, tell: Tell) -> bool:
    """Whether the header can be read and says no more than is read."""
    try:
        return clip.duration_s >= 0
    except UserError as error:
        tell(str(error))
        return False


def _with_texts(clips: list[Clip], request: Request, tell: Tell) -> list[Clip]:
    if request.text is not None:
        return with_text(clips, request.text)
    if request.texts is not None:
        clips, notes = with_texts(clips, request.texts)
        for note in notes:
            tell(note)
    return clips


def _check_texts(clips: Sequence[Clip], request: Request, model: str) -> None:
    """`UserError` for recordings without a text that could be read, and for texts of long ones."""
    if request.asr:
        return
    if silent := [clip for clip in clips if not clip.has_text]:
        which = silent[0].id if len(silent) == 1 else f"{len(silent)} of {len(clips)} recordings"
        such = "" if len(silent) == 1 else f", such as {silent[0].id}"
        raise UserError(
            f"{which}: {model} reads text, and none is given{such}; give one by --text TEXT "
            '("" if nothing is said), a CSV file of several by --texts FILE, or a model that '
            "transcribes by --asr MODEL"
        )
    long = (clip for clip in clips if clip.text and request.windowing.is_long(clip))
    if clip := next(long, None):
        raise UserError(
            f"{clip.id}: expected at most {request.windowing.longest_s:g} s with one text, got "
            f"{clip.duration_s:.0f} s, which are cut into windows; give --asr MODEL, which "
            "transcribes each, or cut the recording into utterances"
        )


def _tell_unread(clips: Sequence[Clip], spec: "RunSpec", tell: Tell) -> None:
    """Tell of texts of which a model that reads words can read nothing."""
    if not spec.model.reads_words:
        return
    language = spec.features.language
    unread = [c for c in clips if c.text.strip() and tokenize(c.text, language) == (EMPTY,)]
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        tell(f"note: the model can read nothing of the text of {unread[0].id}{more}")


def _recogniser(
    clips: Sequence[Clip], request: Request, predictor: "Predictor"
) -> "Recogniser | None":
    """The model that transcribes, on the predictor's device, if a clip needs it."""
    wanted = (c for c in clips if not c.has_text or (c.text and request.windowing.is_long(c)))
    if request.asr is None or next(wanted, None) is None:
        return None
    from mlt_ray.encoders.recognition import open_recogniser

    return open_recogniser(request.asr, predictor.device)


@dataclass(kw_only=True)
class Work:
    """Recordings to predict, and how many of `num_clips` could not be used so far (`failed`)."""

    clips: Sequence[Clip]
    predictor: "Predictor"
    recogniser: "Recogniser | None"
    windowing: Windowing
    tell: Tell
    num_clips: int
    failed: int = 0
    progress: Progress = lambda what, done, total: None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that have probabilities, in their order."""
        return self.predictor.classes

    def predictions(self) -> Iterator[list[Prediction]]:
        """Yield the predictions of each block of recordings, in the order of the arguments.

        A recording that cannot be used is told, counted and left out. Raises `UserError` if it is
        the only one, and for a mistake that is not one recording's.
        """
        done = self.failed
        for block in [list(self.clips)] if self.predictor.model.is_by_speaker else self._blocks():
            yield self._answers(self._transcribed(self._cut(self._heard(block))))
            done += len(block)
            if len(block) < len(self.clips):
                self.progress("recordings predicted", done, self.num_clips)

    def _blocks(self) -> Iterator[list[Clip]]:
        most = BLOCK if self.recogniser is None else BLOCK_HEARD
        block: list[Clip] = []
        for clip in self.clips:
            too_long = sum(one.duration_s for one in (*block, clip)) > BLOCK_S
            if block and (too_long or len(block) == most):
                yield block
                block = []
            block.append(clip)
        if block:
            yield block

    def _heard(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips with their samples, but for those that cannot be read."""
        if len(clips) == 1:
            results = [_tried(clips[0])]
        else:
            import_torchaudio()
            with ThreadPoolExecutor(usable_cpus()) as pool, torch_threads(1):
                results = list(pool.map(_tried, clips))
        found = []
        for clip, result in zip(clips, results, strict=True):
            if isinstance(result, UserError):
                self._failed(result)
            else:
                # All recordings of all speakers would fill the memory: they are read once more.
                found.append(clip if self.predictor.model.is_by_speaker else result)
        return found

    def _cut(self, clips: Sequence[Clip]) -> list[Clip | Cut]:
        found: list[Clip | Cut] = []
        for clip in clips:
            try:
                found.append(cut(clip, self.windowing) if self.windowing.is_long(clip) else clip)
            except UserError as error:
                self._failed(error)
        return found

    def _transcribed(self, items: Sequence[Clip | Cut]) -> list[Clip | Cut]:
        """Clips and windows with the texts that they lack, if there is what transcribes them."""
        if self.recogniser is None:
            return list(items)

        def show(done: int, total: int) -> None:
            if total > BLOCK_HEARD:  # a block of windows, of which it takes long to hear any
                self.progress("windows transcribed", done, total)

        return transcribed(items, self.recogniser, show)

    def _answers(self, items: Sequence[Clip | Cut]) -> list[Prediction]:
        """The predictions of clips and of recordings in windows."""
        try:
            return self.predictor.answers(items)
        except UserError as error:
            return self._apart(items, error)

    def _apart(self, items: Sequence[Clip | Cut], error: UserError) -> list[Prediction]:
        """The predictions of those items that do not raise; `error` if it is no single item's."""
        if len(items) == 1 or self.predictor.model.is_by_speaker:
            raise error
        found, failed = list[Prediction](), list[UserError]()
        for item in items:
            try:
                found += self._answers([item])
            except UserError as own:
                failed.append(own)
        if not found:
            raise error
        for failure in failed:
            self._failed(failure)
        return found

    def _failed(self, error: UserError) -> None:
        self.failed += 1
        if self.num_clips == 1:
            raise error
        self.tell(str(error))


def _tried(clip: Clip) -> Clip | UserError:
    try:
        return heard(clip)
    except UserError as error:
        return error
