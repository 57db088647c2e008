"""Estimates the memory that runs take, and refuses what no machine at hand can hold."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.opening import encoder_shape
from mlt_ray.encoders.pretrained import load_config
from mlt_ray.errors import UserError
from mlt_ray.features.batch_order import (
    EVALUATION_BATCH,
    EVALUATION_PAIRS,
    TRAINING_PAIRS,
)
from mlt_ray.features.batching import KEPT_BYTES
from mlt_ray.features.egemaps import NUM_VALUES as EGEMAPS
from mlt_ray.features.prosody import NUM_VALUES as PROSODY
from mlt_ray.models.registry import is_network
from mlt_ray.planning.contents import Pretrained
from mlt_ray.planning.resources import Node, Resources, share_of_trial, share_of_worker
from mlt_ray.spec import ExtraInput, FeatureSpec, ModelSpec, RunSpec
from mlt_ray.training.footprint import Footprint, footprint

MIB: Final = 2**20

PROCESS_BYTES: Final = 350 * MIB
"""What a worker takes for itself alone, before it reads a run: measured 314 MiB with torch 2.11 on
a CPU. Another 240 MiB of libraries are the same pages in all processes."""

GPU_PROCESS_BYTES: Final = 2_500 * MIB
"""The same with CUDA's libraries and context (*assumed*)."""

COMMAND_BYTES: Final = 1_024 * MIB
"""The command itself and Ray's own processes (*assumed*)."""

_FLOAT_BYTES: Final = 4

_COPIES_ALONE: Final = 4
"""Of each weight that is trained: its value, two moments of Adam, and its best value."""

_COPIES_IN_A_PACK: Final = 7
"""The same, and value and moments once more in the pack's tensors."""

_COPIES_OF_INPUTS: Final = 3
"""Of each extra input: as it was read, joined and standardised."""

_UTTERANCE_BYTES: Final = 4_096
"""An utterance's texts, names and ids."""

_PHONEMES: Final = 16
"""Phonemes of a word, at most."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Estimated bytes of a process: what it takes by itself, and more for each run.

    A run `alone` and one in a pack differ. On a GPU most of a run is in the GPU's memory;
    `run_beside_gpu` is what it then takes of the machine's.
    """

    inputs: int
    alone: int
    in_a_pack: int
    run_beside_gpu: int

    def process(self, num_runs: int, on_gpu: bool) -> int:
        """Bytes of a process with so many runs, with its inputs for each."""
        if on_gpu:
            return GPU_PROCESS_BYTES + num_runs * (self.inputs + self.run_beside_gpu)
        run = self.alone if num_runs == 1 else self.in_a_pack
        return PROCESS_BYTES + num_runs * (self.inputs + run)


class Need(NamedTuple):
    """A row, what it takes (None: not known), and how many of its runs are to be computed."""

    row: str
    spec: RunSpec
    memory: Memory | None
    num_runs: int


def memory_of(values: RunSpec, corpus: Corpus, pretrained: Pretrained) -> Memory | None:
    """What a run takes on what counts of a corpus.

    The network is built and stepped on torch's meta device, with the longest utterances. None if
    that cannot be done: its encoder is not at hand, or it is a model of one's own that cannot be
    built there. One that can be built and not be stepped is taken to keep a few tensors of each
    layer's size (`mlt_ray.training.footprint`).
    """
    if not _has_encoders(values, pretrained):
        return None
    model, training = values.model, values.training
    longest = _Longest.of(values, corpus, pretrained)
    sizes = _sizes(model, longest, corpus, pretrained)
    inputs = len(corpus) * _UTTERANCE_BYTES
    frames = longest.total_steps * longest.frame_dim * _FLOAT_BYTES
    inputs += frames if frames <= KEPT_BYTES else 0
    for extra in model.extras:
        shape = _shape(extra, longest, pretrained)
        inputs += _COPIES_OF_INPUTS * len(corpus) * math.prod(shape) * _FLOAT_BYTES
    if not is_network(model):
        ngrams = longest.words * getattr(model, "ngrams", 0)
        fitted = len(corpus) * ngrams * _UTTERANCE_BYTES // 32
        return Memory(inputs=inputs, alone=fitted, in_a_pack=fitted, run_beside_gpu=fitted)
    trained = training.batch_size
    if training.batch_seconds is not None:
        most = 1000 * training.batch_seconds / (longest.step_ms * longest.steps)
        trained = max(1, int(min(most, len(corpus))))
    trained = longest.pieces(min(trained, len(corpus)), TRAINING_PAIRS)
    scored = longest.pieces(min(EVALUATION_BATCH, len(corpus)), EVALUATION_PAIRS)
    try:
        found = footprint(
            model,
            sizes,
            _batch(model, trained, longest, pretrained),
            _batch(model, scored, longest, pretrained),
        )
    except Exception:
        if model.source:
            return None
        raise
    return _of_network(found, inputs)


def _has_encoders(values: RunSpec, pretrained: Pretrained) -> bool:
    """Whether every encoder that a run reads has been found."""
    model = values.model
    speech = (model.speech_encoder, (model.frames or values.features.frames).encoder)
    known = [pretrained.speech_encoders.knows(name) for name in speech if name is not None]
    if model.text_encoder is not None:
        known.append(pretrained.encoders.knows(model.text_encoder))
    return all(known)


def _of_network(found: Footprint, inputs: int) -> Memory:
    frozen = found.weights - found.trained
    return Memory(
        inputs=inputs,
        alone=frozen + _COPIES_ALONE * found.trained + found.step,
        in_a_pack=frozen + _COPIES_IN_A_PACK * found.trained + found.step,
        run_beside_gpu=2 * found.weights,
    )


class _Longest(NamedTuple):
    """The sizes of the longest utterance of a corpus, as a row reads it, and those of a step.

    `total_steps` are those of all utterances.
    """

    steps: int
    words: int
    total_steps: int
    step_ms: float
    frame_dim: int
    frame_layers: int

    @classmethod
    def of(cls, values: RunSpec, corpus: Corpus, pretrained: Pretrained) -> "_Longest":
        features: FeatureSpec = values.features
        frames = values.model.frames or features.frames
        hop_ms, dim, layers = frames.hop_ms, frames.num_bins, 1
        if frames.encoder is not None:
            shape = encoder_shape(pretrained.speech_encoders.folder(frames.encoder))
            hop_ms, dim = 1000 / shape.states_per_s, shape.width
            layers += shape.num_layers if frames.layer == "weighted" else 0
        step_ms = hop_ms * features.frames_per_step
        most = features.max_steps or math.inf
        steps = [
            int(min(max(1, math.ceil(1000 * u.duration_s / step_ms)), most))
            for u in corpus.utterances
        ]
        words = max(1, max(len(u.text.split()) for u in corpus.utterances))
        return cls(
            steps=max(steps),
            words=int(min(words, features.max_words or math.inf)),
            total_steps=sum(steps),
            step_ms=step_ms,
            frame_dim=dim * layers,
            frame_layers=layers,
        )

    def pieces(self, size: int, most_pairs: int) -> int:
        """How many of so many utterances are computed at a time (`batch_order.split_batch`)."""
        return max(1, min(size, most_pairs // self.steps**2))


def _sizes(
    model: ModelSpec, longest: _Longest, corpus: Corpus, pretrained: Pretrained
) -> InputSizes:
    """The sizes that the network is built for, at most: words and phonemes of the whole corpus."""
    words = {word for u in corpus.utterances for word in u.text.casefold().split()}
    speech = next((extra for extra in model.extras if extra.name == "speech_layers"), None)
    shape = _shape(speech, longest, pretrained) if speech is not None else ()
    trains_speech = model.speech_encoder is not None and not model.normalises_frames
    return InputSizes(
        frame_dim=longest.frame_dim,
        num_phonemes=100,
        num_learned_words=len(words) // 4 + 2,
        word_vectors=torch.empty(len(words), pretrained.vectors.dim, device="meta"),
        extras={extra.name: _shape(extra, longest, pretrained)[-1] for extra in model.extras},
        encoder=_text_folder(model, pretrained),
        num_classes=len(corpus.classes),
        frame_layers=longest.frame_layers,
        num_speech_layers=shape[0] if len(shape) == 2 else 0,
        speech_encoder=pretrained.speech_encoders.folder(model.speech_encoder)
        if trains_speech and model.speech_encoder is not None
        else None,
    )


def _text_folder(model: ModelSpec, pretrained: Pretrained) -> Path | None:
    if model.text_encoder is None:
        return None
    return pretrained.encoders.folder(model.text_encoder)


def _shape(extra: ExtraInput, longest: _Longest, pretrained: Pretrained) -> tuple[int, ...]:
    """The shape of an extra input of one utterance."""
    fixed: Mapping[str, tuple[int, ...]] = {
        "alignment": (longest.words, 2),
        "prosody": (PROSODY,),
        "egemaps": (EGEMAPS,),
    }
    if extra.name in fixed:
        return fixed[extra.name]
    if extra.name == "speech_layers":
        of = encoder_shape(pretrained.speech_encoders.folder(extra.encoder))
        layers = (of.num_layers + 1,) if extra.layer == "weighted" else ()
        return (*layers, 2 * of.width)
    config = load_config(pretrained.encoders.folder(extra.encoder))
    if extra.name == "pieces":
        # A word has mostly one piece or two; two more begin and end a text.
        return (min(2 * longest.words + 2, config.max_position_embeddings),)
    return (config.hidden_size,)


_INTEGERS: Final = ("alignment", "pieces")
"""Extra inputs that are whole numbers."""


def _batch(model: ModelSpec, size: int, longest: _Longest, pretrained: Pretrained) -> Batch:
    """A batch of the longest utterance so many times, on the meta device."""
    steps, words = longest.steps, longest.words
    with torch.device("meta"):
        whole: dict[str, Any] = {"dtype": torch.int64}
        extras = {
            extra.name: torch.empty(
                size,
                *_shape(extra, longest, pretrained),
                dtype=torch.int64 if extra.name in _INTEGERS else torch.float32,
            )
            for extra in model.extras
        }
        return Batch(
            utterances=torch.empty(size, **whole),
            labels=torch.empty(size, **whole),
            frames=torch.empty(size, steps, longest.frame_dim),
            num_frames=torch.empty(size, **whole),
            words=torch.empty(size, words, **whole),
            num_words=torch.empty(size, **whole),
            phonemes=torch.empty(size, words, _PHONEMES, **whole),
            extras=extras,
        )


def check_memory(
    needs: Iterable[Need], resources: Resources, nodes: Sequence[Node], machine: str
) -> None:
    """`UserError` if no node has the memory for a run of one row, or for the runs at once there.

    `machine` says what the nodes are: ``this machine has``. A process of a pack counts as one run.
    """
    on_gpu = bool(resources.gpus_per_run or resources.gpus_per_worker)
    most = max((node.memory for node in nodes), default=math.inf)
    processes: list[int] = []
    for need in needs:
        size = min(resources.pack_size(need.spec), need.num_runs)
        if need.memory is None or not size:
            continue
        taken = need.memory.process(size, on_gpu)
        if taken > most:
            what = f"a pack of {size} runs" if size > 1 else "one run"
            fits_alone = size > 1 and need.memory.process(1, on_gpu) <= most
            raise UserError(
                f"row {need.row}: needs about {text(taken)} of memory for {what}, {machine} "
                f"{text(most)}; {_remedy(need, fits_alone)}"
            )
        processes += [taken] * math.ceil(need.num_runs / size) * resources.workers
    processes.sort(reverse=True)
    share = share_of_worker(resources) if resources.workers > 1 else share_of_trial(resources)
    for node in nodes:
        limit = (resources.concurrency or math.inf) * resources.workers
        slots = int(min(node.fit(share), limit, len(processes)))
        left, fitting = node.memory - COMMAND_BYTES, 0
        for taken in processes[:slots]:
            left -= taken
            fitting += left >= 0
        if slots > 1 and fitting < slots:
            raise UserError(
                f"resources: {slots} runs at once need about "
                f"{text(COMMAND_BYTES + sum(processes[:slots]))} of memory, {machine} "
                f"{text(node.memory)}; set --concurrency {max(1, fitting // resources.workers)}"
            )


def _remedy(need: Need, fits_alone: bool) -> str:
    if fits_alone:
        return "lower --pack"
    name, value = _largest(need.spec)
    return f"lower {name} ({value})" if name else "use a machine with more memory"


def _largest(spec: RunSpec) -> tuple[str, float]:
    """The number of the model or of training that is furthest above its default, and its key."""
    candidates = [("", 1.0, 0.0), *_above_default("model", spec.model)]
    candidates += _above_default("training", spec.training, ("batch_size", "batch_seconds"))
    candidates += _above_default("features.frames", spec.features.frames, ("num_bins",))
    name, _, value = max(candidates, key=lambda one: one[1])
    return name, value


def _above_default(
    prefix: str, values: Any, names: Sequence[str] | None = None
) -> Iterable[tuple[str, float, float]]:
    """The key of each whole number that may be lowered, how many times its default, its value."""
    for field in dataclasses.fields(values):
        value, default = getattr(values, field.name), field.default
        if dataclasses.is_dataclass(value):
            yield from _above_default(f"{prefix}.{field.name}", value)
        elif (names is None or field.name in names) and type(value) in (int, float):
            base = default if type(default) in (int, float) and default else 1
            yield f"{prefix}.{field.name}", value / base, value


def text(num_bytes: float) -> str:
    """Bytes in words, such as ``1.5 GiB``."""
    for unit in ("MiB", "GiB", "TiB", "PiB"):
        num_bytes /= 1024 if unit != "MiB" else MIB
        if num_bytes < 1024 or unit == "PiB":
            break
    return f"{num_bytes:,.1f} {unit}" if num_bytes < 10 else f"{num_bytes:,.0f} {unit}"
