"""A pack: runs of one RunSpec that are stepped by one call, vectorised over the runs.

Fifteen runs of a small model are fifteen times too small for a GPU; together they take about as
long as one. Between epochs the learners hold everything, as if each had been alone; within an
epoch the pack holds all runs' weights, a run axis before each.

Shapes: R runs, B utterances, S steps of an epoch.
"""

import copy
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
"""What is made of a batch of all runs, the step's inputs and the runs that take the step."""

MAX_PAIRS = 2**26
"""Attention cells, B · T², that are computed at a time. With dropout of attention weights, one
takes about 200 bytes in training at the paper's sizes, so that 16 GiB hold them; without, far
less."""


class PackTrainer:
    """Steps its learners together, epoch by epoch."""

    def __init__(self, learners: Sequence[Learner], recorder: Recorder | None = None) -> None:
        """`recorder`, where given, is how a GPU replays steps that it has taken."""
        self.learners = learners
        first = learners[0]
        self.device, self._training = first.device, first.run.spec.training
        sizes = common(learners)
        # On the meta device: no value of this module is ever used, only its shapes and its code.
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

    def only(self, learners: Sequence[Learner]) -> "PackTrainer":
        """The pack of some of its learners, when others have left it."""
        smaller = copy.copy(self)
        smaller.learners = learners
        smaller._start()
        return smaller

    def _start(self) -> None:
        """Make what is of these very runs: their weights, and recorded steps."""
        self._adam = self._gather()
        self._replays: dict[Compute, ReplayedStep] = {}

    def train_epoch(self) -> None:
        """One epoch of every learner, step beside step."""
        self._system.train()
        steps = steps_of_epoch(self.learners)
        counts = np.asarray([[0 if i is None else len(i) for i in step] for step in steps])
        num_utterances = torch.as_tensor(counts, dtype=torch.float32, device=self.device)
        inputs = {"codes": self._codes(counts > 0), "num_utterances": num_utterances}
        total = torch.zeros(len(self.learners), device=self.device)
        for losses in self._each(self._train_step, steps, inputs):
            total += losses
        self._scatter()
        for learner, loss, seen in zip(self.learners, total, counts.sum(axis=0), strict=True):
            learner.add_losses(loss, int(seen))

    @torch.no_grad()
    def logits(self, part: str) -> list[Tensor]:
        """Every learner's (N, 4) logits of a part, in the part's own order, on the CPU."""
        self._system.eval()
        steps = list(zip_longest(*(x.data.evaluation_order(part) for x in self.learners)))
        found = list(self._each(self._evaluation_step, steps, {}))
        on_cpu = [logits.cpu() for logits in found]
        return [
            in_order(learner.data.parts[part], [s[n] for s in steps], [x[n] for x in on_cpu])
            for n, learner in enumerate(self.learners)
        ]

    def _each(self, compute: Compute, steps: Steps, inputs: Inputs) -> Iterator[Tensor]:
        """What is computed of each step's batch, with the step's row of the (S, …) inputs."""
        folds = [x.run.fold for x in self.learners]
        rows = ({k: v[n] for k, v in inputs.items()} for n in range(len(steps)))
        who = [tuple(n for n, i in enumerate(step) if i is not None) for step in steps]
        data = self._data
        if not isinstance(data, DeviceBatches):
            for batch, row, runs in zip(data.batches(steps, folds), rows, who, strict=True):
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
        for here, size, row, runs in zip(places, sizes, rows, who, strict=True):
            yield step((*size, *runs), {**row, "places": here})

    def _train_step(self, batch: Stacked, given: Inputs, runs: Sequence[int]) -> Tensor:
        """One step of those runs → (R,) sums of their utterances' losses, 0 for the others."""
        keys = site_keys(given["codes"], batch["utterances"])
        losses, gradients = self._gradient(batch, keys)
        self._adam.step(clip(gradients, self._training), runs)
        return losses * given["num_utterances"]

    def _evaluation_step(self, batch: Stacked, given: Inputs, runs: Sequence[int]) -> Tensor:
        """→ (R, B, 4) float32 logits."""
        parts = [
            self._call(self._system, [w[rows] for w in self._adam.weights], picked(batch, rows))
            for rows in chunks(batch)
        ]
        return torch.cat(parts).float()

    def _gradient(self, batch: Stacked, keys: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """→ (R,) losses and their gradients, (R, …) for every weight."""
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
        """The module's output for each run, from its rows of the weights and of the batch."""
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
            # What vmap put there is of no use outside.
            give_keys(self._sites, None)
        return result

    def _codes(self, taken: np.ndarray) -> Tensor:
        """(S, R, sites) dropout codes of the coming epoch; (S, R) `taken` says who takes part."""
        numbers = np.maximum(taken.cumsum(axis=0) - 1, 0)
        codes = [
            [
                site_codes(len(self._sites), x.run.seed, x.run.fold, x.epoch, int(number))
                for x, number in zip(self.learners, row, strict=True)
            ]
            for row in numbers
        ]
        return torch.as_tensor(np.asarray(codes)).to(self.device)

    @torch.no_grad()
    def _gather(self) -> PackAdam:
        """The optimiser of all runs, in the state that the learners are in."""
        shapes = [(len(self.learners), *shape) for shape in self._shapes.values()]
        adam = PackAdam([torch.zeros(s, device=self.device) for s in shapes], self._training)
        for n, learner in enumerate(self.learners):
            torch._foreach_copy_(*places(adam, n, learner))
            adam.steps[n] = learner.optimiser.steps
        return adam

    @torch.no_grad()
    def _scatter(self) -> None:
        """Give the learners what the optimiser of all runs holds."""
        # One wait for a GPU, not one a run.
        counts = self._adam.steps.tolist()
        for n, (learner, steps) in enumerate(zip(self.learners, counts, strict=True)):
            here, there = places(self._adam, n, learner)
            torch._foreach_copy_(there, here)
            learner.optimiser.steps = int(steps)


def places(adam: PackAdam, run: int, learner: Learner) -> tuple[list[Tensor], list[Tensor]]:
    """A run's weights and moments where the pack's optimiser has them, and its learner's own.

    A run whose vocabulary is smaller than the pack's has fewer rows in its tables.
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
    """Every learner's batch at each step of the coming epoch; None where it sits the step out."""
    most = max(x.num_batches for x in learners)
    return list(zip(*(x.order(most) for x in learners), strict=True))


def in_order(
    members: Sequence[int], batches: Sequence[np.ndarray | None], logits: Sequence[Tensor]
) -> Tensor:
    """(N, 4) logits of the N `members` from those of batches, each with its utterances first."""
    place = {utterance: n for n, utterance in enumerate(members)}
    found = torch.zeros(len(members), logits[0].shape[1])
    for indices, rows in zip(batches, logits, strict=True):
        if indices is not None:
            found[[place[i] for i in indices.tolist()]] = rows[: len(indices)]
    return found


def chunks(batch: Stacked) -> list[slice]:
    """The runs of a stacked batch in parts that fit into memory, all in one where they do."""
    num_runs, size, steps = batch["frames"].shape[:3]
    cells = size * max(steps, batch["words"].shape[2]) ** 2
    at_once = max(1, min(num_runs, MAX_PAIRS // cells))
    return [slice(n, n + at_once) for n in range(0, num_runs, at_once)]


def common(learners: Sequence[Learner]) -> InputSizes:
    """Sizes that hold every run: those of the largest vocabularies."""
    sizes = [x.sizes for x in learners]
    return replace(
        sizes[0],
        num_phonemes=max(s.num_phonemes for s in sizes),
        num_learned_words=max(s.num_learned_words for s in sizes),
    )


def shared_buffers(learners: Sequence[Learner]) -> dict[str, Tensor]:
    """Frozen inputs, such as word vectors: the same for all runs of a corpus."""
    found = [dict(x.model.named_buffers()) for x in learners]
    for name, value in found[0].items():
        if not all(torch.equal(value, other[name]) for other in found):
            raise ValueError(f"the runs of a pack share {name}")
    return found[0]
