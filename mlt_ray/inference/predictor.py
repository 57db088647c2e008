"""Predictions of a trained model for recordings that it has never seen.

Shapes: M runs, N recordings, K classes.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mlt_ray.corpus.utterance import Spoken
from mlt_ray.errors import UserError
from mlt_ray.features.batch_order import evaluation_batches
from mlt_ray.features.fitted import FittedExtra
from mlt_ray.inference.clips import Clip, Recording, clip_of
from mlt_ray.inference.encoding import Encoded, encoded, inputs_of, is_by_speaker
from mlt_ray.inference.ensemble import Ensemble, Inputs, build_ensemble
from mlt_ray.inference.prediction import Prediction
from mlt_ray.inference.raw import RawFeatures, raw_features
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.inference.windows import Cut, Windowing, cut, spoken_in, transcribed
from mlt_ray.training.classical import Readable, read_inputs
from mlt_ray.training.classifiers import Classical

Probabilities = NDArray[np.float64]

BLOCK: Final = 512
"""Recordings whose features are in memory at once."""

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
        self.model = model
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.ensemble: Ensemble | None = None
        if model.is_network:
            self.ensemble = build_ensemble(model).to(self.device)
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
        size = len(spoken) if is_by_speaker(self.model) else BLOCK
        features = raw_features(spoken, self.model.spec, self.model.tools)
        found = []
        for start in range(0, len(spoken), size):
            block = spoken[start : start + size]
            found.append(self.of_features(list(islice(features, len(block))), block))
            progress(start + len(block), len(spoken))
        return np.concatenate(found, axis=1)

    def of_features(
        self, features: Sequence[RawFeatures], spoken: Sequence[Spoken]
    ) -> Probabilities:
        """(M, N, K) probabilities that each run gives, from features of the recordings."""
        ready = encoded(features, spoken, self.model)
        with self._one_at_a_time, torch.no_grad():
            if self.ensemble is None:
                return self._of_classifiers(ready, spoken)
            found = np.empty((len(self.model.runs), len(spoken), len(self.classes)))
            lengths = np.array([len(frames) for frames in ready.frames])
            for indices in evaluation_batches(range(len(spoken)), lengths):
                inputs = inputs_of(ready, indices, self.model, self.ensemble).to(self.device)
                found[:, indices] = self.ensemble(inputs).cpu().numpy()
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
        asr: str | Path | None = None,
        windowing: Windowing | None = None,
    ) -> Prediction | list[Prediction]:
        """The prediction of a recording, or of each of several.

        A recording is a path, the bytes of a file, or mono samples at 16 kHz. `text` is what is
        said in it, ``""`` if nothing is; of several, one for each. `asr` transcribes those without:
        a folder or a name on the Hugging Face hub. `windowing` None: recordings of more than 30 s
        are cut into windows. Raises `UserError` as `answer` does.
        """
        if isinstance(audio, list | tuple):
            texts = [None] * len(audio) if text is None else text
            if isinstance(texts, str) or len(texts) != len(audio):
                raise UserError(f"text: expected one of each of {len(audio)} recordings")
            clips = [
                _clip(one, said, place)
                for place, (one, said) in enumerate(zip(audio, texts, strict=True))
            ]
            return self.answer(clips, windowing, asr)
        if not (text is None or isinstance(text, str)):
            raise UserError("text: expected one, of one recording, got several")
        [found] = self.answer([_clip(audio, text, 0)], windowing, asr)
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
        if reads and asr is not None:
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
            inputs = {c.kind: read_inputs(c.kind, source) for c in run.weights.classifiers}
            found.append(run.weights.probabilities(inputs))
        return np.stack(found)


def _standardised(
    fitted: Mapping[str, FittedExtra], arrays: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    return fitted[name].standardised(arrays[name])


def _clip(audio: Recording, text: str | None, place: int) -> Clip:
    if isinstance(audio, str):
        audio = Path(audio)
    name = str(audio) if isinstance(audio, Path) else f"recording {place}"
    return clip_of(audio, text, name=name)


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
