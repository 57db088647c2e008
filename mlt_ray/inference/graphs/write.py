"""Writes a trained model as ONNX, which onnxruntime runs with neither torch nor this package.

Shapes: M runs, B utterances, K classes.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mlt_ray import __version__
from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.corpus.words import EMPTY, token_pattern
from mlt_ray.errors import UserError, first_line
from mlt_ray.inference.ensemble import Inputs, build_ensemble
from mlt_ray.inference.graphs.classifiers import Classifiers, classified
from mlt_ray.inference.graphs.front_end import KINDS, write_front_end
from mlt_ray.inference.graphs.inputs import DESCRIBED, OWN, inputs_of, made_up, tensors_of
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.inference.vocabulary import Vocabulary
from mlt_ray.models.exportable import AXES, OPSET, exportable, write_graph

MODEL, FRONT_END, EXAMPLE = "model.onnx", "frontend.onnx", "run.py"
"""The graph from features to probabilities, the one from samples to frames, and what joins both."""

PACKAGES: Final = ("onnx", "onnxruntime")

OUTPUTS: Final[Mapping[str, str]] = {
    "probabilities": "(batch, classes) float32: of each class, the mean over the runs",
    "member_probabilities": "(runs, batch, classes) float32: what each run gives",
}

STANDARDISED: Final[Mapping[str, str]] = {
    "train": "by the graph; give frames and vectors as they are computed",
    "speaker": "before: give frames and vectors with mean 0 and deviation 1 over all recordings of "
    "their speaker",
}
"""Who standardises frames and vectors, by `FeatureSpec.standardise`."""

MOST_BYTES: Final = 2**31 - 2**20
"""What one file of ONNX can hold, with room for all but the weights."""

TOLERANCE: Final = 1e-4
"""Largest difference of a probability between the written file and torch."""

_TRACED: Final = ([23, 7], [5, 2])
_CHECKED: Final = (([1], [1]), ([3, 41, 17], [1, 9, 4]))
"""Steps and words of the made-up utterances that are traced, and of those that check the file."""


def write_onnx(model: TrainedModel, folder: Path) -> list[Path]:
    """Write the runs of a trained model into `folder` as one graph; returns the files.

    ``model.onnx`` explains itself: its metadata name classes, inputs, vocabularies and versions.
    Where it reads nothing but text and frames that a graph can compute, ``frontend.onnx`` and
    ``run.py`` stand beside it, and predict a recording. Raises `UserError` without the packages of
    ``mlt-ray[onnx]``, for a model that cannot be traced or is too large, and if the file gives
    other probabilities than torch for made-up utterances.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"--to onnx: expected the packages {' and '.join(PACKAGES)}, found no {missing[0]}; "
            "pip install onnx onnxruntime"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL
    members, reference, reads_new_words = _members(model)
    _check_size(model, members)
    _trace(model, members, path)
    names = _check(model, reference, path, reads_new_words)
    _explain(model, names, path)
    files = [path]
    features = model.spec.features
    if "frames" in names and features.frames.kind in KINDS and features.standardise == "train":
        files.append(folder / FRONT_END)
        write_front_end(features, files[-1])
    if set(names) <= set(OWN) and ("frames" not in names or len(files) == 2):
        files.append(folder / EXAMPLE)
        example = Path(__file__).with_name(EXAMPLE)
        files[-1].write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    return files


class Graph(nn.Module):
    """What is traced: the tensors named by `names` → the tensors named by `OUTPUTS`."""

    def __init__(self, members: Sequence[nn.Module], names: Sequence[str]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.names = tuple(names)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        inputs = inputs_of(dict(zip(self.names, tensors, strict=True)))
        found = torch.stack([member(inputs) for member in self.members]).float()
        return found.mean(dim=0), found


Reference = Callable[[Inputs], np.ndarray]
"""(M, B, K) probabilities of the runs, as `mlt_ray.inference.predictor` computes them."""


def _members(model: TrainedModel) -> tuple[list[nn.Module], Reference, bool]:
    """A module for each run, which gives (B, K) probabilities, and what they must equal.

    Also whether they read words that their vocabularies lack.
    """
    if not model.is_network:
        classifiers = [Classifiers(run) for run in model.runs]
        return list(classifiers), functools.partial(classified, model), False
    ensemble = build_ensemble(model)
    members = exportable(ensemble).members
    with_softmax = [nn.Sequential(member, nn.Softmax(dim=-1)) for member in members]
    reads_new_words = ensemble.reads_new_words
    return list(with_softmax), lambda inputs: ensemble(inputs).numpy(), reads_new_words


def _check_size(model: TrainedModel, members: Sequence[nn.Module]) -> None:
    tensors = {id(t): t for m in members for t in (*m.parameters(), *m.buffers())}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    if size > MOST_BYTES:
        raise UserError(
            f"{model.name}: expected weights below 2 GB, which a file of ONNX can hold, got "
            f"{size / 1e9:.1f} GB in {len(members)} runs; export one run by its digest"
        )


def _trace(model: TrainedModel, members: Sequence[nn.Module], path: Path) -> None:
    example = tensors_of(made_up(model, *_TRACED))
    axes = {**AXES, "word_vectors": {0: "vectors"}, "member_probabilities": {1: "batch"}}
    try:
        with torch.no_grad():
            write_graph(Graph(members, list(example)), example, list(OUTPUTS), path, axes)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{model.name}: expected a model that can be traced for ONNX, got {reason}; predict "
            "with mlt-ray predict"
        ) from error


def _check(
    model: TrainedModel, reference: Reference, path: Path, reads_new_words: bool
) -> list[str]:
    """Run the file on made-up utterances; returns the names of its inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is told below
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    checked = [(*sizes, new) for sizes in _CHECKED for new in {False, reads_new_words}]
    for num_frames, num_words, with_new_words in checked:
        inputs = made_up(model, num_frames, num_words, with_new_words=with_new_words)
        with torch.no_grad():
            expected = reference(inputs)
        tensors = tensors_of(inputs)
        try:
            _, found = session.run(None, {name: tensors[name].numpy() for name in names})
            difference = float(np.abs(found - expected).max())
        except Exception as error:  # onnxruntime's own classes have no other base
            raise _fixed(model, f"a failure at {num_frames} steps") from error
        if not difference <= TOLERANCE:
            raise _fixed(model, f"a difference of {difference:.2g} at {num_frames} steps")
    return names


def _fixed(model: TrainedModel, got: str) -> UserError:
    return UserError(
        f"{model.name}: expected a graph that gives torch's probabilities for all lengths, got "
        f"{got}; in the network's forward, compute nothing from len() or int() of a tensor"
    )


def _explain(model: TrainedModel, names: Sequence[str], path: Path) -> None:
    """Add the metadata: what `metadata_of` says, as texts of JSON."""
    import onnx

    graph = onnx.load(path)
    onnx.helper.set_model_props(
        graph, {k: json.dumps(v, ensure_ascii=False) for k, v in metadata_of(model, names).items()}
    )
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def metadata_of(model: TrainedModel, names: Sequence[str]) -> dict[str, Any]:
    """What a reader of the file must know, by name; `names` are the graph's inputs.

    `pronunciations` are ids of the phonemes of each word alone: those of a word in a sentence can
    be others, as of ``read``.
    """
    features = model.spec.features
    vocabulary = Vocabulary.of(run.fitted for run in model.runs)
    values: dict[str, Any] = {
        "model": model.name,
        "mlt_ray": __version__,
        "opset": OPSET,
        "runs": [{"digest": r.digest, "fold": r.fold, "seed": r.seed} for r in model.runs],
        "classes": model.spec.classes,
        "inputs": {name: DESCRIBED.get(name, "") for name in names},
        "outputs": dict(OUTPUTS),
        "features": asdict(features),
        "standardised": STANDARDISED[features.standardise],
        "sample_rate_hz": SAMPLE_RATE_HZ,
    }
    if extras := [extra for extra in model.spec.model.extras if extra.name in names]:
        values["encoders"] = {extra.name: extra.encoder for extra in extras if extra.encoder}
    if {"words", "phonemes"} & set(names):
        values["token_pattern"] = token_pattern(features.language)
        values["words"] = vocabulary.words
    if "phonemes" in names:
        values["phonemes"] = vocabulary.phonemes
        values["pronunciations"] = _pronunciations(model, vocabulary)
    return values


def _pronunciations(model: TrainedModel, vocabulary: Vocabulary) -> dict[str, list[int]]:
    """The joint ids of the phonemes of each word of the vocabulary, and of an empty text."""
    words = sorted({*vocabulary.words, EMPTY})
    spoken = [model.tools.phonemizer([word])[0] for word in words]
    texts = [list(zip(words, map(list, spoken), strict=True))]
    _, [ids] = vocabulary.ids_of(texts, {})
    return {word: [int(i) for i in row if i] for word, row in zip(words, ids, strict=True)}
