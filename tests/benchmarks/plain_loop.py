"""The runs of one row as a researcher would write them, without this project: plain PyTorch.

It uses torch.nn's layers in the architecture and sizes of the multilevel transformer, a DataLoader
with random batches and a collate function, and Adam. It evaluates dev after each epoch and test
with the weights of the best epoch, one run after the other. Only the features come from this
project's cache.

    python -m tests.benchmarks.plain_loop RUNS THREADS RESULT

`RUNS` is a pickle of (runs, store); `THREADS` is 0 for torch's own choice.
"""

import copy
import itertools
import json
import math
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from mlt_ray.batch import InputSizes
from mlt_ray.features.batching import FoldData
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from tests.benchmarks.figures import peak_memory_mib
from tests.benchmarks.inputs import fold_of, read_table

EVALUATION_BATCH = 32


class Sample(NamedTuple):
    """One utterance: (T, F) frames, (W,) word ids, (W, P) phoneme ids."""

    frames: Tensor
    words: Tensor
    phonemes: Tensor
    label: int


class Inputs(NamedTuple):
    """A batch. The masks are True at padding, as torch.nn expects."""

    frames: Tensor
    frame_padding: Tensor
    words: Tensor
    word_padding: Tensor
    phonemes: Tensor
    labels: Tensor


def collate(samples: Sequence[Sample]) -> Inputs:
    """Pad to the longest of the batch."""
    frames = pad_sequence([s.frames for s in samples], batch_first=True)
    words = pad_sequence([s.words for s in samples], batch_first=True)
    phonemes = words.new_zeros(*words.shape, max(s.phonemes.shape[1] for s in samples))
    for n, sample in enumerate(samples):
        phonemes[n, : sample.phonemes.shape[0], : sample.phonemes.shape[1]] = sample.phonemes
    num_frames = torch.tensor([len(s.frames) for s in samples])
    num_words = torch.tensor([len(s.words) for s in samples])
    return Inputs(
        frames=frames,
        frame_padding=torch.arange(frames.shape[1]) >= num_frames[:, None],
        words=words,
        word_padding=torch.arange(words.shape[1]) >= num_words[:, None],
        phonemes=phonemes,
        labels=torch.tensor([s.label for s in samples]),
    )


class Positions(nn.Module):
    def __init__(self, width: int, dropout: float, longest: int = 4096) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(longest)[:, None]
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(longest, width)
        table[:, 0::2], table[:, 1::2] = torch.sin(position * rate), torch.cos(position * rate)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.scale * self.table[: x.shape[1]])


class Text(nn.Module):
    """Phoneme CNN and word vectors, highway, convolutional pre-net, self-attention."""

    def __init__(self, spec: MultilevelSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.num_learned = sizes.num_learned_words
        vectors = sizes.word_vectors
        self.phonemes = nn.Embedding(sizes.num_phonemes, spec.phoneme_dim, padding_idx=0)
        self.convolution = nn.Conv1d(
            spec.phoneme_dim, spec.phoneme_channels, spec.phoneme_kernel, padding="same"
        )
        self.learned = nn.Embedding(self.num_learned, vectors.shape[1], padding_idx=0)
        self.given = nn.Embedding.from_pretrained(vectors)
        inputs = spec.phoneme_channels + vectors.shape[1]
        linear = [nn.Linear(inputs, inputs) for _ in range(2 * spec.highway_layers)]
        self.transforms = nn.ModuleList(linear[::2])
        self.gates = nn.ModuleList(linear[1::2])
        widths = [inputs] + [spec.width] * spec.prenet_layers
        self.prenet = nn.ModuleList(
            nn.Conv1d(a, b, spec.prenet_kernel, padding="same")
            for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(spec.width) for _ in self.prenet)
        self.dropout = nn.Dropout(spec.prenet_dropout)
        self.projection = nn.Linear(widths[-1], spec.width)
        self.positions = Positions(spec.width, spec.dropout)
        self.layers = nn.ModuleList(encoder(spec) for _ in range(spec.text_encoder_layers))

    def forward(self, inputs: Inputs) -> Tensor:
        size, words, longest = inputs.phonemes.shape
        spelt = self.phonemes(inputs.phonemes.view(size * words, longest)).transpose(1, 2)
        spelt = torch.relu(self.convolution(spelt)).amax(2).view(size, words, -1)
        is_learned = inputs.words < self.num_learned
        learned = self.learned(inputs.words.clamp(max=self.num_learned - 1))
        given = self.given((inputs.words - self.num_learned).clamp(min=0))
        x = torch.cat([spelt, torch.where(is_learned[..., None], learned, given)], dim=-1)
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            passed = torch.sigmoid(gate(x))
            x = torch.relu(transform(x)) * passed + x * (1 - passed)
        for convolution, norm in zip(self.prenet, self.norms, strict=True):
            x = x.masked_fill(inputs.word_padding[..., None], 0)
            x = norm(convolution(x.transpose(1, 2)).transpose(1, 2))
            x = self.dropout(torch.relu(x))
        x = self.positions(self.projection(x))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=inputs.word_padding)
        return x


class PlainMultilevel(nn.Module):
    """The multilevel transformer with highway and deep fusion, of torch.nn's layers."""

    def __init__(self, spec: MultilevelSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = Text(spec, sizes)
        self.dummy = nn.Parameter(torch.randn(sizes.frame_dim) * 0.02)
        self.mel = nn.Sequential(
            nn.Linear(sizes.frame_dim, spec.mel_prenet_width),
            nn.ReLU(),
            nn.Dropout(spec.mel_prenet_dropout),
            nn.Linear(spec.mel_prenet_width, spec.width),
            nn.ReLU(),
            nn.Dropout(spec.mel_prenet_dropout),
        )
        self.positions = Positions(spec.width, spec.dropout)
        self.cross = nn.ModuleList(decoder(spec) for _ in range(spec.cross_modality_layers))
        self.fusion = nn.ModuleList(encoder(spec) for _ in range(spec.deep_fusion_layers))
        self.classifier = nn.Linear(spec.width, 4)

    def forward(self, inputs: Inputs) -> Tensor:
        text = self.text(inputs)
        size = len(inputs.labels)
        x = torch.cat([self.dummy.expand(size, 1, -1), inputs.frames], dim=1)
        padding = F.pad(inputs.frame_padding, (1, 0))
        x = self.positions(self.mel(x))
        for layer in self.cross:
            x = layer(
                x,
                text,
                tgt_key_padding_mask=padding,
                memory_key_padding_mask=inputs.word_padding,
            )
        for layer in self.fusion:
            x = layer(x, src_key_padding_mask=padding)
        return self.classifier(x[:, 0])


def encoder(spec: MultilevelSpec) -> nn.TransformerEncoderLayer:
    sizes = spec.width, spec.num_heads, spec.feed_forward, spec.dropout
    return nn.TransformerEncoderLayer(*sizes, batch_first=True)


def decoder(spec: MultilevelSpec) -> nn.TransformerDecoderLayer:
    sizes = spec.width, spec.num_heads, spec.feed_forward, spec.dropout
    return nn.TransformerDecoderLayer(*sizes, batch_first=True)


def samples_of(data: FoldData) -> dict[str, list[Sample]]:
    """The utterances of train, dev and test, loaded into memory."""
    found: dict[str, list[Sample]] = {}
    for part, indices in data.parts.items():
        found[part] = []
        for index in indices:
            one = data.batch([index])
            label = int(one.labels[0])
            found[part].append(Sample(one.frames[0], one.words[0], one.phonemes[0], label))
    return found


def train_plainly(run: Run, data: FoldData, device: torch.device) -> dict[str, Any]:
    """Train one run to its end; returns its figures."""
    torch.manual_seed(run.seed)
    model, training = PlainMultilevel(run.spec.model, data.sizes).to(device), run.spec.training
    optimiser = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=training.learning_rate
    )
    samples = samples_of(data)
    batches = DataLoader(samples["train"], training.batch_size, shuffle=True, collate_fn=collate)
    best_wa, best_epoch, best = -1.0, 0, copy.deepcopy(model.state_dict())
    steps, epoch, began = 0, 0, time.perf_counter()
    while epoch < training.max_epochs and epoch - best_epoch < training.patience:
        epoch += 1
        model.train()
        for batch in batches:
            inputs = moved(batch, device)
            optimiser.zero_grad()
            F.cross_entropy(model(inputs), inputs.labels).backward()
            optimiser.step()
            steps += 1
        wa = accuracy(model, samples["dev"], device)
        if wa > best_wa:
            best_wa, best_epoch, best = wa, epoch, copy.deepcopy(model.state_dict())
    epochs_s = time.perf_counter() - began
    model.load_state_dict(best)
    test_wa = accuracy(model, samples["test"], device)
    return {"steps": steps, "epochs_s": epochs_s, "test_wa": test_wa}


@torch.no_grad()
def accuracy(model: nn.Module, samples: Sequence[Sample], device: torch.device) -> float:
    """Share of the samples whose class is predicted."""
    model.eval()
    right = 0
    for batch in DataLoader(samples, EVALUATION_BATCH, collate_fn=collate):
        inputs = moved(batch, device)
        right += int((model(inputs).argmax(1) == inputs.labels).sum())
    return right / len(samples)


def moved(batch: Inputs, device: torch.device) -> Inputs:
    return Inputs(*(tensor.to(device) for tensor in batch))


def main() -> None:
    """Train the runs one after the other and write their figures."""
    job, threads, result = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    runs, root, device_name = pickle.loads(job.read_bytes())
    if threads:
        torch.set_num_threads(threads)
    device, store = torch.device(device_name), Store(root)
    corpus = read_table(runs[0].spec.corpus, store)
    figures = [train_plainly(run, fold_of(run, corpus, store), device) for run in runs]
    cuda = device.type == "cuda"
    values = {
        "steps": sum(f["steps"] for f in figures),
        "epochs_s": sum(f["epochs_s"] for f in figures),
        "test_wa": sum(f["test_wa"] for f in figures) / len(figures),
        "threads": torch.get_num_threads(),
        "memory_mib": peak_memory_mib(),
        "gpu_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
    }
    result.write_text(json.dumps(values))


if __name__ == "__main__":
    main()
