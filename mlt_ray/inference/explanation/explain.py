"""Explains what a trained model says of one utterance, by looking inside and by leaving out.

Shapes: M runs, K classes, N altered utterances, T steps, W words.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

import numpy as np
import torch

from mlt_ray.corpus.audio import read_audio
from mlt_ray.corpus.utterance import Spoken
from mlt_ray.corpus.words import EMPTY
from mlt_ray.errors import UserError
from mlt_ray.features.batch_order import evaluation_batches
from mlt_ray.features.extract import frames_of, hop_ms_of, words_of
from mlt_ray.features.extras import INPUTS
from mlt_ray.inference.ensemble import Ensemble, Inputs, Member
from mlt_ray.inference.explanation.nearest import nearest_of
from mlt_ray.inference.explanation.parts import (
    Altered,
    silenced,
    span_edges,
    up_to,
    without_each,
)
from mlt_ray.inference.explanation.seeing import see
from mlt_ray.inference.explanation.values import (
    Explanation,
    OverTime,
    Part,
    Provenance,
    SpanChanges,
    WordAttention,
)
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.raw import RawFeatures, raw_features
from mlt_ray.machine import torch_threads, usable_cpus
from mlt_ray.spec import FeatureSpec
from mlt_ray.storage.store import Store

OF_RECORDING: Final = ("prosody", "speech_layers", "egemaps")
"""Extra inputs that are computed from the recording alone."""

NO_CHANGE: Final = 1e-6
"""Changes of probabilities up to this come from rounding."""


class Explainer:
    """A trained model and one utterance, with the features of the whole."""

    def __init__(self, predictor: Predictor, spoken: Spoken) -> None:
        """Raises `UserError` for a recording that cannot be read, and as `explain` does."""
        self.predictor, self.spoken = predictor, spoken
        self.spec, self.tools = predictor.model.spec, predictor.model.tools
        if predictor.model.is_by_speaker:
            raise UserError(
                f"{predictor.model.name}: expected a model that one recording is enough for, got "
                "one whose features are standardised over all recordings of a speaker; name "
                "another"
            )
        self.samples = read_audio(spoken.audio)
        self.whole = self.altered()
        [self.features] = raw_features([self.whole], self.spec, self.tools)
        self.probabilities = self._predicted([self.features], [self.whole])[:, 0]
        self.predicted = int(self.probabilities.mean(axis=0).argmax())
        self.edges_s = span_edges(spoken.duration_s)

    def altered(self, samples: np.ndarray | None = None, text: str | None = None) -> Altered:
        """The utterance with other samples, or with another text."""
        return Altered(
            id=self.spoken.id,
            audio=self.samples if samples is None else samples,
            text=self.spoken.text if text is None else text,
            speaker=self.spoken.speaker,
            duration_s=self.spoken.duration_s,
            alignment=self.spoken.alignment,
        )

    def attention(self) -> WordAttention | None:
        """The attention of the frames over the words; None if the network has none."""
        ensemble = self.predictor.ensemble
        if ensemble is None:
            return None
        inputs = self._inputs([self.features])
        seen = [see(m.network, partial(m, inputs)) for m in members_of(ensemble)]
        weights = [one.attention for one in seen if one.attention is not None]
        if not weights:
            return None
        shares = [one.phoneme_shares for one in seen if one.phoneme_shares is not None]
        first_s, step_s = step_times(
            self.spec.features, hop_ms_of(self.spec.features.frames, self.tools.folder_of)
        )
        return WordAttention(
            weights=np.mean(weights, axis=0),
            first_s=first_s,
            step_s=step_s,
            phoneme_shares=tuple(np.mean(of_word, axis=0) for of_word in zip(*shares, strict=True))
            or None,
        )

    def over_time(self) -> np.ndarray:
        """(M, S, K) probabilities of the recording up to the end of each of S spans."""
        cut = [self.altered(up_to(self.samples, time)) for time in self.edges_s[1:-1]]
        earlier = self._predicted(self._heard(cut), cut)
        return np.concatenate([earlier, self.probabilities[:, None]], axis=1)

    def word_changes(self) -> np.ndarray:
        """(M, W) changes without each word."""
        texts = without_each(self.spoken.text, self.spec.features.language)
        shorter = [self.altered(text=text) for text in texts[: self.spec.features.max_words]]
        return self._change(self._predicted(self._read(shorter), shorter))

    def span_changes(self) -> SpanChanges:
        """The changes without each span.

        Where a network reads frames of some milliseconds each, the mean frame of its run's training
        part takes the place of those in the span: after the normalisation, they are zero. What a
        speech encoder or openSMILE computes from the recording is computed again, with silence in
        the span.
        """
        spans = np.stack([self.edges_s[:-1], self.edges_s[1:]], axis=1)
        by = self._replaced()
        features = [self.features] * len(spans)
        silent = [self.altered(silenced(self.samples, *span)) for span in spans]
        if by != "frames":
            features = self._heard(silent)
        if by == "silence":
            found = self._predicted(features, silent)
        else:
            found = self._without_frames(features, spans)
        return SpanChanges(spans_s=spans, changes=self._change(found), by=by)

    def _replaced(self) -> Literal["frames", "silence", "both"]:
        """What stands in a span's place, by what the model reads."""
        features, model = self.spec.features, self.spec.model
        if features.frames.kind == "encoder" or not model.normalises_frames:
            return "silence"
        if self.predictor.ensemble is None:
            return "silence"
        everything = np.array([[-np.inf, np.inf]])
        change = self._change(self._without_frames([self.features], everything))
        if not is_change(change):
            return "silence"
        return "both" if any(e.name in OF_RECORDING for e in model.extras) else "frames"

    def _without_frames(self, features: Sequence[RawFeatures], spans_s: np.ndarray) -> np.ndarray:
        """(M, N, K) probabilities with the mean frame in one span of each of N utterances."""
        ensemble = self.predictor.ensemble
        assert ensemble is not None
        spec = self.spec.features
        first_s, step_s = step_times(spec, hop_ms_of(spec.frames, self.tools.folder_of))
        found = np.empty((len(ensemble.members), len(features), len(self.predictor.classes)))
        steps = np.array([len(one.frames) for one in features])
        for indices in evaluation_batches(range(len(features)), steps):
            inputs = self._inputs([features[i] for i in indices])
            middles = first_s + step_s * np.arange(inputs.frames.shape[1])
            start, stop = spans_s[indices].T[..., None]
            inside = torch.from_numpy((middles >= start) & (middles < stop))
            found[:, indices] = with_mean_frames(ensemble, inputs, inside)
        return found

    def _predicted(self, features: Sequence[RawFeatures], altered: Sequence[Altered]) -> np.ndarray:
        """(M, N, K) probabilities."""
        if not features:
            return np.empty((len(self.predictor.model.runs), 0, len(self.predictor.classes)))
        return self.predictor.of_features(features, altered)

    def _change(self, probabilities: np.ndarray) -> np.ndarray:
        """(M, N, K) probabilities → (M, N) changes of that of the predicted class."""
        change: np.ndarray = probabilities - self.probabilities[:, None]
        return change[..., self.predicted]

    def _heard(self, altered: Sequence[Altered]) -> list[RawFeatures]:
        """Features of other recordings with the same text."""
        if not altered:
            return []
        features = self.spec.features
        sounds = [one.audio for one in altered]
        frames = frames_of(sounds, features, self.tools.folder_of, self.tools.embed)
        extras = self._extras(altered, of_recording=True)
        return [
            dataclasses.replace(
                self.features,
                frames=own,
                extras={**self.features.extras, **{k: v[n] for k, v in extras.items()}},
            )
            for n, own in enumerate(frames)
        ]

    def _read(self, altered: Sequence[Altered]) -> list[RawFeatures]:
        """Features of other texts with the same recording."""
        language = self.spec.features.language
        extras = self._extras(altered, of_recording=False)
        return [
            dataclasses.replace(
                self.features,
                words=words_of(one.text, language, self.tools.phonemizer),
                extras={**self.features.extras, **{k: v[n] for k, v in extras.items()}},
            )
            for n, one in enumerate(altered)
        ]

    def _extras(
        self, altered: Sequence[Altered], *, of_recording: bool
    ) -> dict[str, list[np.ndarray]]:
        """The extra inputs that depend on the recording alone, or all others, by name."""
        return {
            extra.name: list(INPUTS[extra.name].compute(altered, extra, self.tools.sources))
            for extra in self.spec.model.extras
            if (extra.name in OF_RECORDING) == of_recording
        }

    def _inputs(self, features: Sequence[RawFeatures]) -> Inputs:
        inputs = self.predictor.inputs(features, [self.whole] * len(features))
        return inputs.to(self.predictor.device)


def explain(
    predictor: Predictor,
    spoken: Spoken,
    text_source: str,
    store: Store | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> Explanation:
    """What the model makes of one utterance.

    `text_source` says where the utterance's text is from. The `store` has the runs and the training
    part, for the nearest utterances; without one they are left out. `tell` is called with what is
    computed next. Raises `UserError` for a recording that cannot be read, and where the row was
    standardised by speaker.
    """
    # A small network is read soonest by one thread: others would wait for each other at each layer.
    is_large = predictor.model.spec.model.fine_tuning is not False
    with torch_threads(usable_cpus() if is_large else 1):
        return _explain(predictor, spoken, text_source, store, tell)


def _explain(
    predictor: Predictor,
    spoken: Spoken,
    text_source: str,
    store: Store | None,
    tell: Callable[[str], None],
) -> Explanation:
    tell("features of the recording")
    explainer = Explainer(predictor, spoken)
    model, absent = predictor.model, dict[Part, str]()
    features = model.spec.features
    # Not the explainer's, which has none for a model that reads pieces of a text encoder alone.
    words = words_of(spoken.text, features.language, model.tools.phonemizer)[: features.max_words]
    has_text = words[0][0] != EMPTY
    tell("attention")
    attention = explainer.attention() if has_text else None
    if not has_text:
        absent["attention"] = "No text was given, so there are no words."
    elif attention is None:
        absent["attention"] = "This row has no attention of frames over words."
    elif attention.phoneme_shares is None:
        absent["phonemes"] = "This row reads no phonemes."
    tell("the recording up to each half second")
    over_time = explainer.over_time()
    tell("each half second left out")
    spans = explainer.span_changes()
    without_recording = over_time - explainer.probabilities[:, None]
    reads_recording = is_change(without_recording) or is_change(spans.changes)
    if not reads_recording:
        for part in ("over_time", "spans"):
            absent[part] = "The answer does not change with the recording."
    tell("each word left out")
    changes = explainer.word_changes() if has_text and model.reads_text else None
    if not model.reads_text:
        absent["words"] = "This row does not read the text."
    elif changes is None:
        absent["words"] = "No text was given."
    elif not is_change(changes):
        changes, absent["words"] = None, "The answer does not change with the text."
    tell("nearest training utterances")
    nearest = nearest_of(predictor, explainer.features, explainer.whole, store)
    if isinstance(nearest, str):
        absent["nearest"] = nearest
    return Explanation(
        clip=spoken.id,
        samples=explainer.samples,
        text=spoken.text,
        text_source=text_source,
        words=tuple(word for word, _ in words) if has_text else (),
        phonemes=tuple(tuple(symbols) for _, symbols in words) if has_text else (),
        classes=predictor.classes,
        probabilities=explainer.probabilities,
        provenance=provenance(predictor, store),
        attention=attention,
        over_time=OverTime(times_s=explainer.edges_s[1:], probabilities=over_time)
        if reads_recording
        else None,
        changes=changes,
        spans=spans if reads_recording else None,
        nearest=None if isinstance(nearest, str) else nearest,
        absent=absent,
    )


def provenance(predictor: Predictor, store: Store | None) -> Provenance:
    """Which model a predictor is; the `store` knows its corpus's name."""
    model = predictor.model
    values = store.read_json(store.corpus(model.spec.corpus)) if store is not None else None
    return Provenance(
        model=model.name,
        system=model.spec.model.system,
        runs=tuple(run.digest for run in model.runs),
        corpus=values["name"] if values else "",
        fingerprint=model.spec.corpus,
    )


def step_times(spec: FeatureSpec, hop_ms: float) -> tuple[float, float]:
    """Seconds of the middle of the first step, and between two steps.

    A step is the mean of `frames_per_step` frames, which start `hop_ms` after one another. What a
    state of a speech encoder has heard is taken to be as long as its hop.
    """
    window_ms = hop_ms if spec.frames.kind == "encoder" else spec.frames.window_ms
    first_ms = window_ms / 2 + (spec.frames_per_step - 1) * hop_ms / 2
    return first_ms / 1000, spec.frames_per_step * hop_ms / 1000


@torch.no_grad()
def with_mean_frames(ensemble: Ensemble, inputs: Inputs, inside: torch.Tensor) -> np.ndarray:
    """(M, N, K) probabilities with each run's mean frame at the (N, T) steps that are True."""
    place = inside.to(inputs.frames.device)[..., None]
    logits = []
    for member in members_of(ensemble):
        mean = member.mean if member.normalises else torch.zeros_like(member.mean)
        frames = torch.where(place, mean, inputs.frames)
        logits.append(member(dataclasses.replace(inputs, frames=frames)))
    found: np.ndarray = torch.stack(logits).double().softmax(dim=-1).cpu().numpy()
    return found


def members_of(ensemble: Ensemble) -> list[Member]:
    """The networks of an ensemble, in the order of its runs."""
    return [member for member in ensemble.members if isinstance(member, Member)]


def is_change(changes: np.ndarray) -> bool:
    """Whether some change is more than rounding."""
    return bool(np.abs(changes).max(initial=0) > NO_CHANGE)
