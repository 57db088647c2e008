"""What speech encoders have yet to compute for rows, and how much of it will be stored."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.folder import encoder_name
from mlt_ray.errors import UserError
from mlt_ray.features.cache import Cache
from mlt_ray.features.extract import FeatureCache
from mlt_ray.planning.contents import Pretrained
from mlt_ray.spec import Layer
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row

_MB: Final = 1e6
_VALUE_BYTES: Final = 2  # float16
_SUM_BYTES: Final = 8  # float64: sums and sums of squares of a recording's values
_POOLED_BYTES: Final = 4  # float32: means and deviations


@dataclass(frozen=True, kw_only=True)
class StatesLeft:
    """Recordings whose states an encoder computes, and what is stored of them.

    Without `num_states` these are means and deviations of all layers, else frames of `width`
    values, about so many. `is_padded`: each recording is heard with silence up to 30 s.
    """

    encoder: str
    layers: str
    is_padded: bool
    num_recordings: int
    minutes: float
    num_bytes: int
    num_states: int | None = None
    width: int = 0

    def __str__(self) -> str:
        what = f"{self.layers} of {encoder_name(self.encoder)}"
        size = f"{self.num_bytes / _MB:,.0f} MB" if self.num_bytes >= _MB else "under 1 MB"
        of = f"{self.num_recordings:,} recordings, {self.minutes:,.0f} minutes"
        if self.is_padded:
            of += f", heard as {self.num_recordings / 2:,.0f} with silence up to 30 s"
        if self.num_states is None:
            return f"{what}: mean and deviation of {of}, {size}"
        return f"{what} as frames: {of}, {self.num_states:,} of {self.width:,} values, {size}"


def states_left(
    corpus: Corpus, rows: Sequence[Row], store: Store, pretrained: Pretrained
) -> tuple[StatesLeft, ...]:
    """What the encoders of rows, whose contents are named, have yet to compute; empty if nothing.

    `UserError` if the disk of the store has less room than that takes.
    """
    found = tuple(_each(corpus, rows, store, pretrained))
    needed = sum(left.num_bytes for left in found)
    place = next(p for p in (store.root, *store.root.parents) if p.exists())
    if found and (free := shutil.disk_usage(place).free) < needed:
        raise UserError(
            f"{store}: expected {needed / _MB:,.0f} MB of free disk for states of encoders, got "
            f"{free / _MB:,.0f} MB; name another --store, or set features.frames.layer to a number"
        )
    return found


def _each(
    corpus: Corpus, rows: Sequence[Row], store: Store, pretrained: Pretrained
) -> Iterator[StatesLeft]:
    # Not at the top: it imports torch.
    from mlt_ray.features.extras import open_cache

    left: dict[Path, dict[str, float]] = {}
    read: dict[Path, tuple[str, Layer | None, bool]] = {}
    for row in rows:
        features, counted = row.features, select(corpus, row.labels).utterances
        caches: list[tuple[Cache, str, Layer | None]] = [
            (open_cache(extra, store, features), extra.encoder, None)
            for extra in row.model.extras
            if extra.name == "speech_layers"
        ]
        if features.frames.encoder is not None:
            frames = FeatureCache.open(store, features).frames
            caches.append((frames, features.frames.encoder, features.frames.layer))
        for cache, identity, layer in caches:
            seconds = {u.audio_sha256: u.duration_s for u in counted}
            lacking = {key: seconds[key] for key in cache.missing(seconds)}
            left[cache.folder] = {**left.get(cache.folder, {}), **lacking}
            read[cache.folder] = identity, layer, features.pad_to_30s
    for folder, (identity, layer, is_padded) in read.items():
        if left[folder]:
            yield _states(identity, layer, is_padded, list(left[folder].values()), pretrained)


def _states(
    identity: str,
    layer: Layer | None,
    is_padded: bool,
    seconds: Sequence[float],
    pretrained: Pretrained,
) -> StatesLeft:
    """What is stored of recordings that last so long: frames of a layer, or (None) all, pooled."""
    from mlt_ray.encoders.embedding import layer_index
    from mlt_ray.encoders.opening import encoder_shape

    shape = encoder_shape(pretrained.speech_encoders.folder(identity))
    number = shape.num_layers + 1
    layers, width = f"all {number} layers", shape.width * number
    if layer not in (None, "weighted"):
        layers, width = f"layer {layer_index(layer, number)}", shape.width
    num_states = round(sum(seconds) * shape.states_per_s)
    num_bytes = 2 * _POOLED_BYTES * len(seconds) * width
    if layer is not None:
        num_bytes = _VALUE_BYTES * num_states * width + 2 * _SUM_BYTES * len(seconds) * width
    return StatesLeft(
        encoder=identity,
        layers=layers,
        is_padded=is_padded,
        num_recordings=len(seconds),
        minutes=sum(seconds) / 60,
        num_bytes=num_bytes,
        num_states=None if layer is None else num_states,
        width=width,
    )
