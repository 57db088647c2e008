"""Speech encoders on the device: the states of frozen ones, training of their last blocks, speed.

Weights are random, and recordings are noise as long as the made-up utterances. Checks take tiny
encoders of each family, speeds the shapes of published ones.
"""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.embedding import BLOCK, Embedding, embed
from mlt_ray.encoders.folder import encoder_folder
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import SpeechEncoder, layer_states
from mlt_ray.features.extract import FeatureCache
from mlt_ray.spec import Run
from tests.encoders.noise import noise
from tests.gpu.comparing import same_weights, steps
from tests.gpu.findings import Findings, Outcome
from tests.gpu.inputs import changed, moments_of
from tests.gpu.setting import Setting
from tests.gpu.speeds import epochs
from tests.gpu.systems import (
    CPU,
    STEPS,
    as_on_a_cpu,
    close,
    nothing_waits,
    resumed,
    same_bits_twice,
    ten_steps,
)

ROW: Final = "speech encoder, fine-tuned"
KINDS: Final = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper")
LENGTHS: Final = (8000, 5003, 16_001, 401)
"""Samples of the recordings that are embedded together."""

TINY_RATE_HZ: Final = 3000
"""With so many samples a second, most tiny encoders have 50 states a second, as others have."""

TAILS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "wav2vec2, all blocks": ("wav2vec2", {"fine_tune": "all"}),
    "wavlm, last block": ("wavlm", {"fine_tune": "last_n", "last_n": 1}),
    "whisper, all blocks": ("whisper", {"fine_tune": "all"}),
    "wav2vec2, LoRA": ("wav2vec2", {"fine_tune": "lora"}),
    "whisper, LoRA": ("whisper", {"fine_tune": "lora"}),
}
"""How tiny encoders are trained: name → family, and values of the row's model."""

QUICK_TAIL: Final = "wav2vec2, LoRA"

WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "last two blocks": {"fine_tune": "last_n", "last_n": 2},
    "LoRA": {"fine_tune": "lora"},
    "all blocks": {"fine_tune": "all"},
}
"""How encoders are trained whose speed is measured: name → values of the row's model."""

STEPS_MEASURED: Final = 8
POOLED: Final = Embedding()


def run(setting: Setting, findings: Findings) -> None:
    """Run all checks, then measure. Without peft, what needs it is left out, which a trial says."""
    findings.attempt("peft is installed", lambda: {"peft": importlib.metadata.version("peft")})
    for kind in KINDS:
        findings.check(f"{kind}: embeds as on a CPU", lambda k=kind: embeds_as_on_a_cpu(setting, k))
    tails = [QUICK_TAIL] if setting.quick else list(TAILS)
    for aspect, check in CHECKS.items():
        for name in tails:
            if has_peft() or not needs_peft(name):
                findings.check(
                    f"{name}: {aspect}", lambda c=check, n=name: c(setting, small_tail(setting, n))
                )
    for name in bases(setting):
        findings.measure(f"{name}: embedding", lambda n=name: embedding_speed(setting, n))
        for way, values in WAYS.items():
            if values["fine_tune"] == "lora" and not has_peft():
                continue
            for recomputes in (False, True) if values["fine_tune"] == "all" else (False,):
                what = f"{name}, {way}" + ", gradient checkpointing" * recomputes
                findings.measure(
                    f"{what}: training",
                    lambda n=name, v=values, r=recomputes: training_speed(setting, n, v, r),
                )


def has_peft() -> bool:
    """Whether adapters can be trained here."""
    return importlib.util.find_spec("peft") is not None


def needs_peft(name: str) -> bool:
    """Whether one of `TAILS` has adapters."""
    return TAILS[name][1]["fine_tune"] == "lora"


def embeds_as_on_a_cpu(setting: Setting, kind: str) -> Outcome:
    """Pooled layers of recordings that are computed together equal those of a CPU, each alone."""
    recordings = [noise(length, seed=n) for n, length in enumerate(LENGTHS)]
    here = layer_states(_open(setting, kind), recordings)
    alone = open_encoder(written(setting, kind), CPU)
    there = [states for samples in recordings for states in layer_states(alone, [samples])]
    return close(*(np.stack([POOLED.of(x) for x in states]) for states in (here, there)))


def small_tail(setting: Setting, name: str) -> Run:
    """A run that trains one of `TAILS`, whose states are in the store."""
    kind, values = TAILS[name]
    return _tail(setting, setting.inputs.small_rows[ROW][0], kind, values)


def recomputed(setting: Setting, run: Run) -> Outcome:
    """Ten steps with gradient checkpointing give the losses and weights of ten without."""
    losses, weights = ten_steps(setting, run)
    again, learner = steps(run, setting.inputs.fold(run), setting.device, STEPS, recomputes=True)
    figures = {
        "losses_are_equal": torch.equal(losses, again),
        "weights_are_equal": same_weights(weights, learner.model.state_dict()),
    }
    return Outcome(ok=all(figures.values()), figures=figures)


CHECKS: Final[Mapping[str, Callable[[Setting, Run], Outcome]]] = {
    "as on a CPU": as_on_a_cpu,
    "no step waits": nothing_waits,
    "the same bits twice": same_bits_twice,
    "gradient checkpointing gives the same bits": recomputed,
    "resumed equals uninterrupted": resumed,
}


def bases(setting: Setting) -> tuple[str, ...]:
    """The encoders whose speed is measured; for a quick try a tiny one."""
    if setting.quick:
        return KINDS[:1]
    from tests.base_speech_encoder import BASES

    return tuple(BASES)


def embedding_speed(setting: Setting, name: str) -> dict[str, Any]:
    """Seconds of audio that are embedded in a second: pooled layers, block by block."""
    setting.forget()
    run = measured_run(setting)
    encoder = _open(setting, name)
    corpus = setting.inputs.corpora[run.spec.corpus]
    sounds = list(_sounds(corpus, _rate_hz(name)).values())
    _embedded(encoder, sounds[:3], POOLED)
    seconds, _ = setting.timed(lambda: _embedded(encoder, sounds, POOLED))
    audio_s = sum(map(len, sounds)) / SAMPLE_RATE_HZ
    return {
        "audio_s_per_s": audio_s / seconds,
        "recordings": len(sounds),
        "audio_s": audio_s,
        **setting.memory(),
    }


def training_speed(
    setting: Setting, name: str, values: Mapping[str, Any], recomputes: bool
) -> dict[str, Any]:
    """Steps per second of the row with its batches and another encoder, trained in one way."""
    run = _tail(setting, measured_run(setting), name, values)
    setting.forget()
    utterances = STEPS_MEASURED * run.spec.training.batch_size
    return epochs(setting, [run], False, 1, utterances, recomputes)


def measured_run(setting: Setting) -> Run:
    """The run whose corpus and batches speeds are measured with."""
    inputs = setting.inputs
    return (inputs.small_rows if setting.quick else inputs.rows)[ROW][0]


def _tail(setting: Setting, run: Run, name: str, values: Mapping[str, Any]) -> Run:
    """The run with other values and an encoder of that name; the states it reads are stored."""
    run = changed(run, "model", speech_encoder=_identity(name), **values)
    frames = run.spec.model.frames
    assert frames is not None
    run = changed(run, "features", frames=frames, frames_per_step=1)
    cache = FeatureCache.open(setting.inputs.store, run.spec.features)
    sounds = _sounds(setting.inputs.corpora[run.spec.corpus], _rate_hz(name))
    if missing := cache.frames.missing(sounds):
        embedding = Embedding(layer=frames.layer)
        states = _embedded(_open(setting, name), [sounds[key] for key in missing], embedding)
        found = dict(zip(missing, states, strict=True))
        cache.frames.add(found)
        cache.moments.add({key: moments_of(array) for key, array in found.items()})
    return run


def _embedded(
    encoder: SpeechEncoder, sounds: Sequence[Samples], embedding: Embedding
) -> list[np.ndarray]:
    """What is kept of recordings, computed block by block, as a command does it."""
    places = range(0, len(sounds), BLOCK)
    return [a for n in places for a in embed(encoder, sounds[n : n + BLOCK], embedding)]


@functools.lru_cache(maxsize=2)
def _sounds(corpus: Corpus, rate_hz: int) -> dict[str, Samples]:
    """Noise for each utterance, by the utterance's key; `rate_hz` samples for each second."""
    return {
        u.audio_sha256: noise(round(u.duration_s * rate_hz), seed=n)
        for n, u in enumerate(corpus.utterances)
    }


def _rate_hz(name: str) -> int:
    """Samples for each second of an utterance: few where an encoder has many states a second."""
    return TINY_RATE_HZ if name in KINDS else SAMPLE_RATE_HZ


def _open(setting: Setting, name: str) -> SpeechEncoder:
    return open_encoder(written(setting, name), setting.device)


def _identity(name: str) -> str:
    return f"{name}@{name}"


def written(setting: Setting, name: str) -> Any:
    """The folder of an encoder in the store: a tiny one of a family, or one of `BASES`."""
    from tests.base_speech_encoder import write_base
    from tests.tiny_speech_encoder import write_speech_encoder

    folder = encoder_folder(setting.inputs.store, _identity(name))
    if not folder.exists():
        (write_speech_encoder if name in KINDS else write_base)(folder, name)
    return folder
