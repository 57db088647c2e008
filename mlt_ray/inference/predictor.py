"""Predictions of a trained model for recordings that it has never seen.

Shapes: M runs, N recordings, K classes.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mlt_ray.corpus.utterance import Spoken
from mlt_ray.errors import RunFailed, UserError
from mlt_ray.features.batch_order import evaluation_batches
from mlt_ray.features.fitted import FittedExtra
from mlt_ray.inference.clips import Clip, Recording, clip_of
from mlt_ray.inference.encoding import Encoded, encoded, inputs_of
from mlt_ray.inference.ensemble import Ensemble, Inputs, build_ensemble
from mlt_ray.inference.prediction import Prediction
from mlt_ray.inference.raw import RawFeatures, raw_features
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.inference.windows import Cut, Windowing, cut, spoken_in, transcribed
from mlt_ray.machine import device_of
from mlt_ray.training.classical import Readable, read_inputs
from mlt_ray.training.classifiers import Classical
from mlt_ray.training.precision import casting, check_precision, products

Probabilities = NDArray[np.float64]

BLOCK: Final = 512
"""Recordings whose features are in memory at once, at most."""

BLOCK_BYTES: Final = 2**28
"""Bytes of features, as they are computed, after which no more recordings are added to these."""

Progress = Callable[[int, int], None]
"""Called with the number of recordings that are done, and of all."""


class Predictor:
    """A trained model at work: the probabilities of each of its runs, and their mean.

    The mean over runs is the model's answer. A recording's probabilities do not depend on the
    others of a call, but for rounding: alone and in batches they differ by less than 1e-5. Several
    threads may call one predictor.
    """

    def __init__(self, model: TrainedModel, device: torch.device | None = None) -> None:
        """`device` computes (None: a GPU if there is one)."""
        self.device = device_of(device)
        tools = dataclasses.replace(model.tools, device=self.device)
        self.model = model = dataclasses.replace(model, tools=tools)
        self.ensemble: Ensemble | None = None
        if model.is_network:
            self.ensemble = build_ensemble(model).to(self.device)
            check_precision(model.spec.training.precision, self.ensemble, self.device)
        self._one_at_a_time = threading.Lock()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of probabilities."""
        return self.model.spec.classes

    def probabilities(
        self, spoken: Sequence[Spoken], progress: Progress = lambda done, total: None
    ) -> Probabilities:
        """(M, N, K) probabilities that each run gives each recording.

        Raises `UserError` for a recording that cannot be read, and, where the row was standardised
        by speaker, for recordings without speakers or speakers of too few.
        """
        if not spoken:
            return np.zeros((len(self.model.runs), 0, len(self.classes)))
        found, block, num_bytes, start = [], list[RawFeatures](), 0, 0
        for done, one in enumerate(
            raw_features(spoken, self.model.spec, self.model.tools), start=1
        ):
            block.append(one)
            num_bytes += one.num_bytes
            is_full = len(block) == BLOCK or num_bytes >= BLOCK_BYTES
            if done == len(spoken) or (is_full and not self.model.is_by_speaker):
                found.append(self.of_features(block, spoken[start:done]))
                block, num_bytes, start = [], 0, done
                progress(done, len(spoken))
        return np.concatenate(found, axis=1)

    def of_features(
        self, features: Sequence[RawFeatures], spoken: Sequence[Spoken]
    ) -> Probabilities:
        """(M, N, K) probabilities that each run gives, from features of the recordings.

        Raises `UserError` for one whose probabilities are not finite.
        """
        ready = encoded(features, spoken, self.model)
        with self._one_at_a_time:
            if self.ensemble is None:
                found = self._of_classifiers(ready, spoken)
            else:
                found = self._of_networks(ready, self.ensemble)
        if not np.isfinite(found).all():
            [*_, place, _] = np.argwhere(~np.isfinite(found))[0]
            raise UserError(
                f"{spoken[place].id}: expected probabilities, got some that are not finite from "
                f"{self.model.name}; leave the recording out, or look whether the model is damaged"
            )
        return found

    def _of_networks(self, ready: Encoded, ensemble: Ensemble) -> Probabilities:
        found = np.empty((len(self.model.runs), len(ready.frames), len(self.classes)))
        lengths = np.array([len(frames) for frames in ready.frames])
        precision = self.model.spec.training.precision
        with torch.no_grad(), products(precision), casting(precision, self.device):
            for indices in evaluation_batches(range(len(lengths)), lengths):
                inputs = inputs_of(ready, indices, self.model, ensemble).to(self.device)
                found[:, indices] = ensemble(inputs).cpu().numpy()
        return found

    def inputs(self, features: Sequence[RawFeatures], spoken: Sequence[Spoken]) -> Inputs:
        """The recordings as one batch for `ensemble`, on the CPU, in their order."""
        assert self.ensemble is not None
        ready, everything = encoded(features, spoken, self.model), np.arange(len(spoken))
        return inputs_of(ready, everything, self.model, self.ensemble)

    def predict(
        self,
        audio: Recording | list[Recording] | tuple[Recording, ...],
        text: str | Sequence[str | None] | None = None,
        *,
        speaker: str | Sequence[str] = "",
        asr: str | Path | None = None,
        windowing: Windowing | None = None,
    ) -> Prediction | list[Prediction]:
        """The prediction of a recording, or of each of several.

        A recording is a path, the bytes of a file, or mono samples at 16 kHz. `text` is what is
        said in it, ``""`` if nothing is; of several, one for each. `speaker` is who speaks, which
        a row that was standardised by speaker needs; of several, one for each. `asr` transcribes
        those without a text: a folder or a name on the Hugging Face hub. `windowing` None:
        recordings of more than 30 s are cut into windows. Raises `UserError` as `answer` does.
        """
        if isinstance(audio, list | tuple):
            texts = _one_each("text", [None] * len(audio) if text is None else text, len(audio))
            who = _one_each("speaker", [""] * len(audio) if speaker == "" else speaker, len(audio))
            clips = [
                _clip(one, said, by, place)
                for place, (one, said, by) in enumerate(zip(audio, texts, who, strict=True))
            ]
            return self.answer(clips, windowing, asr)
        if not (text is None or isinstance(text, str)) or not isinstance(speaker, str):
            raise UserError("text, speaker: expected one, of one recording, got several")
        [found] = self.answer([_clip(audio, text, speaker, 0)], windowing, asr)
        return found

    def answer(
        self,
        clips: Sequence[Clip],
        windowing: Windowing | None = None,
        asr: str | Path | None = None,
    ) -> list[Prediction]:
        """The prediction of each clip; a long one is cut into windows (None: as by default).

        Raises `UserError` for a clip that cannot be read, and, if the model reads text and nothing
        transcribes, for one without a text and for a long one with more than an empty text, since
        nobody knows which window says what.
        """
        windowing, reads = windowing or Windowing(), self.model.reads_text
        if reads and asr is None:
            for clip in clips:
                _check_text(clip, windowing, self.model.name)
        items = [cut(clip, windowing) if windowing.is_long(clip) else clip for clip in clips]
        if reads and asr is not None and not all(clip.has_text for clip in spoken_in(items)):
            # Not at the top: transformers takes seconds to import.
            from mlt_ray.encoders.recognition import open_recogniser

            items = transcribed(items, open_recogniser(asr, self.device))
        return self.answers(items)

    def answers(self, items: Sequence[Clip | Cut]) -> list[Prediction]:
        """The predictions of clips, and of recordings in windows, all with their texts."""
        if not items:
            return []
        shares = self.probabilities(spoken_in(items)).mean(axis=0)
        ends = np.cumsum([len(spoken_in([item])) for item in items])[:-1]
        return [
            item.prediction(own, self.classes)
            if isinstance(item, Cut)
            else Prediction.of(item, item.text_source, own[0], self.classes)
            for item, own in zip(items, np.split(shares, ends), strict=True)
        ]

    def _of_classifiers(self, ready: Encoded, spoken: Sequence[Spoken]) -> Probabilities:
        everything = np.arange(len(spoken))
        arrays = {name: x.batch(everything).numpy() for name, x in ready.extras.items()}
        found = []
        for run in self.model.runs:
            assert isinstance(run.weights, Classical)
            source = Readable(
                names=[one.id for one in spoken],
                texts=[one.text for one in spoken],
                features=self.model.spec.features,
                extra=functools.partial(_standardised, run.fitted.extras, arrays),
            )
            try:
                inputs = {c.kind: read_inputs(c.kind, source) for c in run.weights.classifiers}
            except RunFailed as failure:  # an input that is not finite
                raise UserError(
                    f"{self.model.name}: {failure}; leave the recording out"
                ) from failure
            found.append(run.weights.probabilities(inputs))
        return np.stack(found)


def _standardised(
    fitted: Mapping[str, FittedExtra], arrays: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    return fitted[name].standardised(arrays[name])


T = TypeVar("T")


def _one_each(what: str, values: str | Sequence[T], count: int) -> Sequence[T]:
    if isinstance(values, str) or len(values) != count:
        raise UserError(f"{what}: expected one of each of {count} recordings")
    return values


def _clip(audio: Recording, text: str | None, speaker: str, place: int) -> Clip:
    if isinstance(audio, str):
        audio = Path(audio)
    name = str(audio) if isinstance(audio, Path) else f"recording {place}"
    return clip_of(audio, text, name=name, speaker=speaker)


def _check_text(clip: Clip, windowing: Windowing, model: str) -> None:
    if not clip.has_text:
        raise UserError(
            f'{clip.id}: {model} reads text, and none is given; give it ("" if nothing is said)'
        )
    if clip.text and windowing.is_long(clip):
        raise UserError(
            f"{clip.id}: expected at most {windowing.longest_s:g} s of a recording with a text, "
            f"got {clip.duration_s:.0f} s; cut it into utterances, each with its text"
        )
