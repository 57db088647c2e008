"""A network as a graph of ONNX, which onnxruntime runs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch
from mlt_ray.models.exportable import exportable, write_graph
from mlt_ray.models.system import System


class OfTensors(nn.Module):
    """A network that is called with the tensors of a batch, named by `names`."""

    def __init__(self, network: System, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        own = {name: given.pop(name) for name in OWN}
        nobody = torch.zeros_like(own["num_frames"])
        return self.network(Batch(utterances=nobody, labels=nobody, **own, extras=given))


OWN = ("frames", "num_frames", "words", "num_words", "phonemes")


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """The inputs in a batch by name, extras among them."""
    return {**{name: getattr(batch, name) for name in OWN}, **batch.extras}


def traced(network: System, example: Batch, path: Path) -> Callable[[Batch], Tensor]:
    """The network, traced on `example` and run by onnxruntime; skips a test that lacks it."""
    runtime = pytest.importorskip("onnxruntime", reason='needs pip install "mlt-ray[onnx]"')
    inputs = tensors_of(example)
    write_graph(OfTensors(exportable(network), list(inputs)), inputs, ["logits"], path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(batch: Batch) -> Tensor:
        given: Mapping[str, Tensor] = tensors_of(batch)
        [found] = session.run(None, {name: given[name].numpy() for name in names})
        return torch.from_numpy(found)

    return run
