"""Predict the emotion of a recording with the ONNX files in this folder: no torch, no mlt_ray.

    pip install numpy onnxruntime soundfile
    python run.py RECORDING.wav "The words that are spoken."

A model that reads no text ignores the words, and one that hears nothing the recording. All that
this file knows of the model stands in the metadata of model.onnx.

It differs from `mlt-ray predict` in this: a word that the training corpus did not have is unknown
here, where mlt-ray looks up its pre-trained vector and its pronunciation; numbers are not written
out as words; a word is pronounced as it is alone; a recording must have 16 kHz, and is heard as a
whole, however long it is.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile

FOLDER = Path(__file__).parent
EMPTY, UNKNOWN = "<empty>", 1


def open_file(name: str) -> tuple[Any, dict[str, Any]]:
    """A file of this folder, ready to run, and its metadata."""
    session = onnxruntime.InferenceSession(FOLDER / name, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, {key: json.loads(value) for key, value in metadata.items()}


def heard(recording: str, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The frames of a recording, and their number."""
    try:
        samples, rate_hz = soundfile.read(recording, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        sys.exit(f"{recording}: expected a WAV, FLAC, … file, got: {error}")
    if rate_hz != about["sample_rate_hz"]:
        sys.exit(f"{recording}: expected {about['sample_rate_hz']} Hz, got {rate_hz}; convert it")
    front_end, _ = open_file("frontend.onnx")
    [frames] = front_end.run(None, {"samples": samples.mean(axis=1)})
    return {"frames": frames[None], "num_frames": np.array([len(frames)])}


def read(text: str, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The ids of a text's words and phonemes, and the number of words."""
    found = re.findall(about["token_pattern"], text.lower().replace("’", "'"))
    tokens = [canonical(token) for token in found][: about["features"]["max_words"]] or [EMPTY]
    ids = {word: n for n, word in enumerate(about["words"], start=UNKNOWN + 1)}
    spoken = [about.get("pronunciations", {}).get(token, [UNKNOWN]) for token in tokens]
    phonemes = np.zeros((1, len(tokens), max(map(len, spoken))), np.int64)
    for row, symbols in zip(phonemes[0], spoken, strict=True):
        row[: len(symbols)] = symbols
    return {
        "words": np.array([[ids.get(token, UNKNOWN) for token in tokens]]),
        "num_words": np.array([len(tokens)]),
        "phonemes": phonemes,
    }


def canonical(token: str) -> str:
    """The one spelling of a dash, of dots and of a tag such as ``[laughter]``."""
    if token.startswith("["):
        return "[" + "_".join(re.findall(r"[^\W\d_]+", token)) + "]"
    if token.startswith("-"):
        return "-"
    return "..." if token.startswith(".") and len(token) > 1 else token


def predict(recording: str, text: str) -> dict[str, float]:
    """The probability of each class."""
    model, about = open_file("model.onnx")
    inputs: dict[str, np.ndarray] = {}
    shapes = {one.name: one.shape for one in model.get_inputs()}
    if "frames" in shapes:
        inputs |= heard(recording, about)
    if "num_words" in shapes:
        inputs |= read(text, about)
    if "word_vectors" in shapes:
        inputs["word_vectors"] = np.zeros((1, shapes["word_vectors"][1]), np.float32)
    probabilities = model.run(["probabilities"], {name: inputs[name] for name in shapes})[0][0]
    return dict(zip(about["classes"], map(float, probabilities), strict=True))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("expected: python run.py RECORDING.wav [TEXT]")
    found = predict(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "")
    print(json.dumps({"label": max(found, key=lambda name: found[name]), "probabilities": found}))
