"""Trains a pack: runs of one RunSpec take each step in one call, vectorised over the runs.

One run of a small model leaves most of a GPU idle; fifteen together take about as long as one. How
a pack's epoch goes:

1. The weights and moments of all learners are copied into tensors with a run axis in front.
2. Each step makes a batch of all runs (`DeviceBatches`), calls the model under `torch.vmap`, with
   the layers of `mlt_ray.models.flat`, and takes a step of `PackAdam`. With a recorder, a GPU
   replays steps whose shapes recur.
3. Weights and moments are copied back. Between epochs each learner is as if trained alone.

Shapes: R runs, B utterances, S steps of an epoch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.dropout import give_keys, site_codes, site_keys, sites
from mlt_ray.models.flat import FLAT
from mlt_ray.models.registry import build_model
from mlt_ray.training.adam import clip
from mlt_ray.training.group import Loss
from mlt_ray.training.learner import Learner
from mlt_ray.training.packs.adam import PackAdam
from mlt_ray.training.packs.device_batches import DeviceBatches, Sizes, batches_for
from mlt_ray.training.packs.host_batches import Stacked, Steps, picked
from mlt_ray.training.packs.replay import Inputs, Recorder, ReplayedStep, Step
from mlt_ray.training.precision import casting

Compute = Callable[[Stacked, Inputs, Sequence[int]], Tensor]
"""A step's function of a batch of all runs, the step's inputs, and the runs that take the step."""

MAX_PAIRS = 2**26
"""Most attention pairs, B · T², that are computed at a time. With dropout of attention weights, a
pair takes about 200 bytes in training at the paper's sizes, so that 16 GiB hold them; without, far
less."""


class PackTrainer:
    """Trains learners of one RunSpec together, epoch by epoch."""

    _rows: list[int]  # the row of each learner
    _in_row: list[Learner]  # the learner in each row; ended ones have given theirs up

    def __init__(self, learners: Sequence[Learner], recorder: Recorder | None = None) -> None:
        """With a `recorder`, steps are recorded and replayed."""
        self.learners = learners
        first = learners[0]
        self.device, self._training = first.device, first.run.spec.training
        sizes = common_sizes(learners)
        # On the meta device: the module gives code and shapes; its values are never used.
        with torch.device("meta"):
            self._system = build_model(first.run.spec.model, sizes)
        for module in self._system.modules():
            module.__class__ = FLAT.get(type(module), type(module))
        self._loss, self._sites = Loss(self._system), sites(self._system)
        self._shapes = {name: p.shape for name, p in self._system.named_parameters()}
        self._constants = shared_buffers(learners)
        folds = {x.run.fold: x.data for x in learners}
        self._data = batches_for(folds, sizes.num_learned_words, self.device)
        self._recorder = recorder
        self._start()

    def keep(self, learners: Sequence[Learner]) -> None:
        """Train only these learners from now on, after others have ended.

        Recorded steps fit one number of runs, and recording new ones takes about as long as an
        epoch. So the rows of learners that have ended stay until they are half of all rows; until
        then they compute what the first learner does, on weights that nobody reads.
        """
        rows = [self._rows[self.learners.index(learner)] for learner in learners]
        self.learners = learners
        if self._recorder is None or 2 * len(learners) <= len(self._in_row):
            self._start()
            return
        self._rows, self._in_row = rows, [learners[0]] * len(self._in_row)
        for row, learner in zip(rows, learners, strict=True):
            self._in_row[row] = learner

    def _start(self) -> None:
        """Make what depends on the learners: their rows, the optimiser, and recorded steps."""
        self._rows = list(range(len(self.learners)))
        self._in_row = list(self.learners)
        self._adam = self._gather()
        self._replays: dict[Compute, ReplayedStep] = {}

    def train_epoch(self) -> None:
        """Train every learner for one epoch."""
        self._system.train()
        steps = steps_of_epoch(self._in_row)
        counts = np.asarray([[0 if i is None else len(i) for i in step] for step in steps])
        num_utterances = torch.as_tensor(counts, dtype=torch.float32, device=self.device)
        inputs = {"codes": self._codes(counts > 0), "num_utterances": num_utterances}
        total = torch.zeros(len(self._in_row), device=self.device)
        for losses in self._each_step(self._train_step, steps, inputs):
            total += losses
        self._scatter()
        seen = counts.sum(axis=0)
        for learner, row in zip(self.learners, self._rows, strict=True):
            learner.add_losses(total[row], int(seen[row]))

    @torch.no_grad()
    def logits(self, part: str) -> list[Tensor]:
        """Every learner's (N, K) logits of a part, in the part's own order, on the CPU."""
        self._system.eval()
        steps = list(zip_longest(*(x.data.evaluation_order(part) for x in self._in_row)))
        found = list(self._each_step(self._evaluation_step, steps, {}))
        on_cpu = [logits.cpu() for logits in found]
        return [
            in_order(learner.data.parts[part], [s[row] for s in steps], [x[row] for x in on_cpu])
            for learner, row in zip(self.learners, self._rows, strict=True)
        ]

    def _each_step(self, compute: Compute, steps: Steps, inputs: Inputs) -> Iterator[Tensor]:
        """The output of `compute` at each step, with the step's row of the (S, …) inputs."""
        folds = [x.run.fold for x in self._in_row]
        rows = ({k: v[n] for k, v in inputs.items()} for n in range(len(steps)))
        taking = [tuple(n for n, i in enumerate(step) if i is not None) for step in steps]
        data = self._data
        if not isinstance(data, DeviceBatches):
            for batch, row, runs in zip(data.batches(steps, folds), rows, taking, strict=True):
                yield compute(batch, row, runs)
            return

        def take(shape: tuple[int, ...], given: Inputs) -> Tensor:
            sizes, runs = shape[: len(Sizes._fields)], shape[len(Sizes._fields) :]
            return compute(data.gather(given["places"], Sizes(*sizes)), given, runs)

        places, sizes = data.places(steps, folds)
        step: Step = take
        if self._recorder is not None:
            step = self._replays.setdefault(compute, ReplayedStep(take, self._recorder))
            sizes = [size.rounded() for size in sizes]
        for here, size, row, runs in zip(places, sizes, rows, taking, strict=True):
            yield step((*size, *runs), {**row, "places": here})

    def _train_step(self, batch: Stacked, given: Inputs, runs: Sequence[int]) -> Tensor:
        """Take a step of `runs` → (R,) sums of their utterances' losses, 0 for other runs."""
        keys = site_keys(given["codes"], batch["utterances"])
        losses, gradients = self._gradient(batch, keys)
        self._adam.step(clip(gradients, self._training), runs)
        return losses * given["num_utterances"]

    def _evaluation_step(self, batch: Stacked, given: Inputs, runs: Sequence[int]) -> Tensor:
        """→ (R, B, K) float32 logits."""
        parts = [
            self._call(self._system, [w[rows] for w in self._adam.weights], picked(batch, rows))
            for rows in chunks(batch)
        ]
        return torch.cat(parts).float()

    def _gradient(self, batch: Stacked, keys: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """→ (R,) mean losses, and (R, …) gradients for every weight."""
        losses: list[Tensor] = []
        gradients: list[Sequence[Tensor]] = []
        for rows in chunks(batch):
            weights = [w[rows].detach().requires_grad_() for w in self._adam.weights]
            found = self._call(self._loss, weights, picked(batch, rows), keys[rows])
            gradients.append(torch.autograd.grad(found.sum(), weights, materialize_grads=True))
            losses.append(found.detach())
        if len(losses) == 1:
            return losses[0], gradients[0]
        return torch.cat(losses), [torch.cat(parts) for parts in zip(*gradients, strict=True)]

    def _call(
        self,
        module: nn.Module,
        weights: Sequence[Tensor],
        batch: Stacked,
        keys: Tensor | None = None,
    ) -> Tensor:
        """The module's output for each run, with that run's weights, batch and dropout keys."""
        prefix = "system." if module is self._loss else ""
        constants = {prefix + name: value for name, value in self._constants.items()}

        def of_one(weights: dict[str, Tensor], batch: dict[str, Any], keys: Tensor) -> Tensor:
            give_keys(self._sites, keys)
            return functional_call(module, {**weights, **constants}, (Batch(**batch),), strict=True)

        named = dict(zip((prefix + name for name in self._shapes), weights, strict=True))
        if keys is None:
            keys = torch.empty(len(weights[0]), 0, device=self.device)
        try:
            with casting(self._training.precision, self.device):
                result: Tensor = torch.vmap(of_one)(named, batch, keys)
        finally:
            # The keys of vmap are invalid outside it.
            give_keys(self._sites, None)
        return result

    def _codes(self, taken: np.ndarray) -> Tensor:
        """(S, R, sites) dropout codes of the coming epoch.

        `taken` (S, R) is True where a run takes the step: its own steps are counted.
        """
        numbers = np.maximum(taken.cumsum(axis=0) - 1, 0)
        codes = [
            [
                site_codes(len(self._sites), x.run.seed, x.run.fold, x.epoch, int(number))
                for x, number in zip(self._in_row, row, strict=True)
            ]
            for row in numbers
        ]
        return torch.as_tensor(np.asarray(codes)).to(self.device)

    @torch.no_grad()
    def _gather(self) -> PackAdam:
        """The optimiser of all runs, with the learners' weights, moments and steps."""
        shapes = [(len(self.learners), *shape) for shape in self._shapes.values()]
        adam = PackAdam([torch.zeros(s, device=self.device) for s in shapes], self._training)
        for n, learner in enumerate(self.learners):
            torch._foreach_copy_(*weights_and_moments(adam, n, learner))
            adam.steps[n] = learner.optimiser.steps
        return adam

    @torch.no_grad()
    def _scatter(self) -> None:
        """Copy weights, moments and steps from the optimiser of all runs to the learners."""
        # One wait for a GPU, not one a run.
        counts = self._adam.steps.tolist()
        for learner, row in zip(self.learners, self._rows, strict=True):
            here, there = weights_and_moments(self._adam, row, learner)
            torch._foreach_copy_(there, here)
            learner.optimiser.steps = int(counts[row])


def weights_and_moments(
    adam: PackAdam, run: int, learner: Learner
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and moments of run number `run`: the pack's (views), and the learner's own.

    A run with a smaller vocabulary than the pack's has fewer rows in its embeddings.
    """
    own = learner.optimiser
    held = [w.detach() for w in own.weights], own.means, own.squares
    pairs = [
        (whole[run][tuple(map(slice, mine.shape))], mine)
        for packed, alone in zip((adam.weights, adam.means, adam.squares), held, strict=True)
        for whole, mine in zip(packed, alone, strict=True)
    ]
    here, there = map(list, zip(*pairs, strict=True))
    return here, there


def steps_of_epoch(learners: Sequence[Learner]) -> list[tuple[np.ndarray | None, ...]]:
    """The batches of all learners at each step of the coming epoch; None: no batch at this step."""
    most = max(x.num_batches for x in learners)
    return list(zip(*(x.order(most) for x in learners), strict=True))


def in_order(
    members: Sequence[int], batches: Sequence[np.ndarray | None], logits: Sequence[Tensor]
) -> Tensor:
    """(N, K) logits in the order of the N `members`, from the logits of batches.

    The rows of a batch start with its utterances; rows that fill it up follow.
    """
    place = {utterance: n for n, utterance in enumerate(members)}
    found = torch.zeros(len(members), logits[0].shape[1])
    for indices, rows in zip(batches, logits, strict=True):
        if indices is not None:
            found[[place[i] for i in indices.tolist()]] = rows[: len(indices)]
    return found


def chunks(batch: Stacked) -> list[slice]:
    """The runs of a stacked batch in slices of at most `MAX_PAIRS` pairs, or of one run."""
    num_runs, size, steps = batch["frames"].shape[:3]
    pairs = size * max(steps, batch["words"].shape[2]) ** 2
    at_once = max(1, min(num_runs, MAX_PAIRS // pairs))
    return [slice(n, n + at_once) for n in range(0, num_runs, at_once)]


def common_sizes(learners: Sequence[Learner]) -> InputSizes:
    """Input sizes for all runs: those of the largest vocabularies."""
    sizes = [x.sizes for x in learners]
    return replace(
        sizes[0],
        num_phonemes=max(s.num_phonemes for s in sizes),
        num_learned_words=max(s.num_learned_words for s in sizes),
    )


def shared_buffers(learners: Sequence[Learner]) -> dict[str, Tensor]:
    """The buffers (frozen inputs such as word vectors); `ValueError` if the runs' differ."""
    found = [dict(x.model.named_buffers()) for x in learners]
    for name, value in found[0].items():
        if not all(torch.equal(value, other[name]) for other in found):
            raise ValueError(f"the runs of a pack share {name}")
    return found[0]
