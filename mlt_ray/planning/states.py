"""What speech encoders have yet to compute for rows, and how much of it will be stored."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.features.extract import FeatureCache
from mlt_ray.labels import Labels
from mlt_ray.planning.contents import Pretrained
from mlt_ray.spec import ExtraInput, FeatureSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row

_MB: Final = 1e6
_VALUE_BYTES: Final = 2  # float16
_POOLED_BYTES: Final = 4  # float32


@dataclass(frozen=True, kw_only=True)
class StatesLeft:
    """Recordings whose states an encoder computes, and what is stored of them.

    Without `num_states` these are means and deviations of all layers, else frames of `width`
    values, about so many.
    """

    encoder: str
    layers: str
    num_recordings: int
    minutes: float
    num_bytes: int
    num_states: int | None = None
    width: int = 0

    def __str__(self) -> str:
        what = f"{self.layers} of {self.encoder.partition('@')[0]}"
        size = f"{self.num_bytes / _MB:,.0f} MB" if self.num_bytes >= _MB else "under 1 MB"
        of = f"{self.num_recordings:,} recordings, {self.minutes:,.0f} minutes"
        if self.num_states is None:
            return f"{what}: mean and deviation of {of}, {size}"
        return f"{what} as frames: {of}, {self.num_states:,} of {self.width:,} values, {size}"


def states_left(
    corpus: Corpus, rows: Sequence[Row], store: Store, pretrained: Pretrained
) -> tuple[StatesLeft, ...]:
    """What the encoders of rows, whose contents are named, have yet to compute; empty if nothing.

    `UserError` if the disk of the store has less room than that takes.
    """
    asked = {
        (row.labels, row.features, extra)
        for row in rows
        for extra in (None, *(e for e in row.model.extras if e.name == "speech_layers"))
    }
    found = dict.fromkeys(_each(corpus, sorted(asked, key=str), store, pretrained))
    needed = sum(left.num_bytes for left in found)
    place = next(p for p in (store.root, *store.root.parents) if p.exists())
    if found and (free := shutil.disk_usage(place).free) < needed:
        raise UserError(
            f"{store}: expected {needed / _MB:,.0f} MB of free disk for states of encoders, got "
            f"{free / _MB:,.0f} MB; name another --store, or set features.frames.layer to a number"
        )
    return tuple(found)


def _each(
    corpus: Corpus,
    asked: Sequence[tuple[Labels, FeatureSpec, ExtraInput | None]],
    store: Store,
    pretrained: Pretrained,
) -> Iterator[StatesLeft]:
    # Not at the top: they import torch.
    from mlt_ray.encoders.speech import encoder_shape
    from mlt_ray.features.extras import open_cache

    for labels, features, extra in asked:
        identity = features.frames.encoder if extra is None else extra.encoder
        if identity is None:
            continue
        cache = (
            FeatureCache.open(store, features).frames
            if extra is None
            else open_cache(extra, store, features)
        )
        utterances = {u.audio_sha256: u for u in select(corpus, labels).utterances}
        left = [utterances[key] for key in cache.missing(utterances)]
        if not left:
            continue
        shape = encoder_shape(pretrained.speech_encoders.folder(identity))
        seconds = sum(u.duration_s for u in left)
        number = shape.num_layers + 1
        if extra is not None:
            yield StatesLeft(
                encoder=identity,
                layers=f"all {number} layers",
                num_recordings=len(left),
                minutes=seconds / 60,
                num_bytes=_POOLED_BYTES * len(left) * number * 2 * shape.width,
            )
            continue
        is_one = features.frames.layer != "weighted"
        width = shape.width * (1 if is_one else number)
        num_states = round(seconds * shape.states_per_s)
        yield StatesLeft(
            encoder=identity,
            layers=f"layer {features.frames.layer}" if is_one else f"all {number} layers",
            num_recordings=len(left),
            minutes=seconds / 60,
            num_bytes=_VALUE_BYTES * num_states * width,
            num_states=num_states,
            width=width,
        )
