"""Speech recognition: the words of recordings, by a model in the layout of transformers.

Shapes: N samples at 16 kHz.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples, Sound, lengthened, read_audio
from mlt_ray.encoders.catalogue import CONFIG, PREPROCESSORS, WEIGHTS
from mlt_ray.encoders.layout import with_shards
from mlt_ray.encoders.pretrained import (
    load_config,
    load_feature_extractor,
    load_tokenizer,
    load_weights,
)
from mlt_ray.errors import UserError, first_line
from mlt_ray.machine import device_of

LONGEST_S: Final = 30.0
"""Seconds that are recognised at once: Whisper hears no more, and others take too much memory."""

SHORTEST_S: Final = 0.1
"""Seconds to which a shorter recording is lengthened by silence: convolutions need some."""

GPU_BATCH: Final = 16
"""Recordings that a GPU recognises together (*assumed*)."""

_CUT_FROM_S, _PAUSE_S = 20.0, 0.1  # a long recording is cut at the quietest pause from there on
_TOKENIZERS: Final = ("tokenizer.json", "vocab.json")
_FILES: Final = (
    *(CONFIG, *PREPROCESSORS, *_TOKENIZERS, "generation_config.json", "tokenizer_config.json"),
    *("merges.txt", "normalizer.json", "special_tokens_map.json", "added_tokens.json"),
)
_REMEDY: Final = "name a folder or a model of the Hugging Face hub such as openai/whisper-base"
_MARKS: Final = re.compile(r"<\|[^|<>]*\|>")
"""Whisper's marks of language and task, which the tokenizers of some folders take for words."""


@dataclass(frozen=True, kw_only=True)
class Recogniser:
    """An open model that gives the words of recordings. `name` is that of its folder."""

    name: str
    folder: Path
    pipeline: Any

    @property
    def at_once(self) -> int:
        """Recordings that are recognised together: several on a GPU alone."""
        return 1 if self.pipeline.device.type == "cpu" else GPU_BATCH

    @property
    def _options(self) -> dict[str, Any]:
        """Of a model that writes word by word, the likeliest next one is taken.

        The pipeline would follow five ways at once, in several times the time.
        """
        return {"generate_kwargs": {"num_beams": 1}} if self.pipeline.model.can_generate() else {}

    def transcribe(self, sounds: Sequence[Sound]) -> Iterator[str]:
        """Yield the words of each recording, in order; empty if the model finds none.

        Recordings of more than `LONGEST_S` are cut where they are quiet. Raises `UserError` for a
        file that cannot be read, and if the model does not work.
        """
        for start in range(0, len(sounds), self.at_once):
            cut = [parts(read_audio(sound)) for sound in sounds[start : start + self.at_once]]
            texts = iter(self._texts([part for found in cut for part in found]))
            for found in cut:
                yield " ".join(filter(None, (next(texts) for _ in found)))

    def _texts(self, recordings: Sequence[Samples]) -> list[str]:
        """The words of recordings of at most `LONGEST_S`."""
        least = int(SHORTEST_S * SAMPLE_RATE_HZ)
        inputs = [
            {"raw": lengthened(samples, least), "sampling_rate": SAMPLE_RATE_HZ}
            for samples in recordings
        ]
        if not inputs:
            return []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what transformers advises its own callers
                found = self.pipeline(inputs, batch_size=self.at_once, **self._options)
        except Exception as error:  # what a damaged folder makes of transformers can be anything
            raise _unusable(self.folder, _reason(error)) from error
        return [" ".join(_MARKS.sub(" ", result["text"]).split()) for result in found]


def parts(samples: Samples) -> list[Samples]:
    """Stretches of at most `LONGEST_S`, one behind the other; none of no samples.

    They are cut in the middle of the quietest tenth of a second of the last ten that may belong to
    a stretch.
    """
    found = []
    longest, pause = int(LONGEST_S * SAMPLE_RATE_HZ), int(_PAUSE_S * SAMPLE_RATE_HZ)
    first = int(_CUT_FROM_S * SAMPLE_RATE_HZ)
    while len(samples) > longest:
        loudness = np.square(samples[first:longest]).reshape(-1, pause).sum(axis=1)
        end = first + int(loudness.argmin()) * pause + pause // 2
        found.append(samples[:end])
        samples = samples[end:]
    return [*found, samples] if len(samples) else found


def open_recogniser(model: str | Path, device: torch.device | None = None) -> Recogniser:
    """The recogniser in a folder, or of that name on the Hugging Face hub, on a device.

    `device` None: a GPU if there is one. The network is used only for a hub name that is not in the
    hub's cache. Raises `UserError` for a model that cannot be found, or that does not transcribe.
    """
    folder = _folder(str(model))
    for needed in ((CONFIG,), _TOKENIZERS):  # without them, transformers makes up others
        if not any((folder / name).is_file() for name in needed):
            raise _unusable(folder, f"a folder without {' or '.join(needed)}")
    device = device_of(device)
    # Importing transformers takes seconds.
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        network = _network(folder)
        opened = pipeline(
            "automatic-speech-recognition",
            model=network,
            tokenizer=load_tokenizer(folder),
            feature_extractor=load_feature_extractor(folder),
            device=device,
        )
    except UserError:
        raise
    except Exception as error:  # what a damaged folder makes of transformers can be anything
        raise _unusable(folder, _reason(error)) from error
    name = folder.resolve().name if Path(model).is_dir() else str(model).rpartition("/")[2]
    return Recogniser(name=name, folder=folder, pipeline=opened)


def _network(folder: Path) -> Any:
    """The model with all its weights; `UserError` for one that does not transcribe."""
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CTC_MAPPING_NAMES,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    )

    kind = load_config(folder).model_type
    classes = (
        (MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES, AutoModelForSpeechSeq2Seq),
        (MODEL_FOR_CTC_MAPPING_NAMES, AutoModelForCTC),
    )
    fitting = [found for names, found in classes if kind in names]
    if not fitting:
        raise _unusable(folder, f"a {kind}")
    network, found = load_weights(fitting[0], folder)
    # wav2vec 2.0 puts the embedding in place of masked states; here, none is masked.
    if missing := sorted(n for n in found["missing_keys"] if not n.endswith("masked_spec_embed")):
        raise _unusable(folder, f"a {kind} without weights such as {missing[0]}")
    return network.eval()


def _folder(model: str) -> Path:
    """The local folder of that name, or that of the hub's cache; downloaded unless it is there."""
    if Path(model).is_dir():
        return Path(model)
    if model.startswith((".", "/", "~")):
        raise UserError(f"speech recogniser {model}: no such folder; {_REMEDY}")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    reason = ""
    for offline, weights in ((True, WEIGHTS[0]), *((False, kind) for kind in WEIGHTS)):
        wanted = [*_FILES, *with_shards(weights)]
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    model, allow_patterns=wanted, local_files_only=offline
                )
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = first_line(error).removeprefix("Got: ")
        else:
            if any((folder / name).is_file() for name in WEIGHTS):
                return folder
            reason = f"a model without {' or '.join(WEIGHTS)}"
    raise UserError(
        f"speech recogniser {model}: expected a folder, or a name on the Hugging Face hub that is "
        f"cached or can be downloaded, got: {reason}; {_REMEDY}"
    )


def _unusable(folder: Path, got: str) -> UserError:
    return UserError(f"{folder}: expected a model that transcribes speech, got {got}; {_REMEDY}")


def _reason(error: Exception) -> str:
    """Kind and first sentence of an error."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
