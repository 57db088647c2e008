"""Trains one run: takes its steps and holds its model, optimiser, curve and best weights."""

import copy
import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.errors import RunFailed
from mlt_ray.features.batch_order import TRAINING_PAIRS, step_order
from mlt_ray.features.batching import FoldData
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.registry import build_model
from mlt_ray.models.system import System
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch, Predictions
from mlt_ray.training.adam import Adam
from mlt_ray.training.finish import milliseconds
from mlt_ray.training.group import ALONE, Group, Loss
from mlt_ray.training.precision import casting


@dataclass(kw_only=True)
class RunProgress:
    """The learning curve of a run so far, and its best epoch and weights."""

    curve: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    started_ms: int = field(default_factory=lambda: milliseconds())
    computed_s: float = 0.0


class Learner:
    """Trains one run, epoch by epoch, and keeps the weights of the best epoch.

    The best is the first with the highest score of dev, the one that ``training.select_by`` names.

    Every random draw is seeded anew from seed, fold, purpose and epoch or step, and never depends
    on earlier draws. So a run that is resumed at an epoch equals one that never stopped. In a
    group, every process has its own learner of the run, all in the same state.
    """

    def __init__(
        self, run: Run, data: FoldData, device: torch.device, group: Group = ALONE
    ) -> None:
        self.run = run
        self.data = data
        self.device = device
        self.group = group
        self.sizes = data.sizes
        torch.manual_seed(seed_of(run, "weights"))
        self.model: System = build_model(run.spec.model, self.sizes).to(device)
        self.loss = group.across_processes(Loss(self.model))
        trained = (p for p in self.model.parameters() if p.requires_grad)
        self.optimiser = Adam(trained, run.spec.training, self.model.pretrained())
        self.progress = RunProgress()
        self._losses: list[Tensor] = []
        self._seen = 0

    @property
    def epoch(self) -> int:
        """The number of epochs trained so far."""
        return len(self.progress.curve)

    @property
    def finished(self) -> bool:
        """True after `max_epochs`, or if the dev score has not risen for `patience` epochs."""
        training = self.run.spec.training
        waited = self.epoch - self.progress.best_epoch
        return self.epoch >= training.max_epochs or waited >= training.patience

    @property
    def num_batches(self) -> int:
        """The number of batches, and so of steps, in the coming epoch."""
        training = self.run.spec.training
        if training.batch_seconds is not None:
            return len(self._batches())
        return math.ceil(len(self.data.parts["train"]) / training.batch_size)

    def order(self, num_batches: int | None = None) -> list[np.ndarray | None]:
        """The batches of the coming epoch, each as the indices of its utterances in the corpus.

        `num_batches` is the largest number of batches of any run in the pack, by default this run's
        own. The list is as long as that: None stands at a step where this run has no batch.
        """
        batches = self._batches()
        places = step_order(num_batches or len(batches), self.epoch)
        return [batches[place] if place < len(batches) else None for place in places]

    def _batches(self) -> list[np.ndarray]:
        """The batches of the coming epoch, those with the longest utterances first."""
        training = self.run.spec.training
        rng = np.random.default_rng(seed_of(self.run, "order", self.epoch))
        return self.data.training_batches(
            training.batch_size, training.bucket_batches, rng, training.batch_seconds
        )

    def step(self, indices: np.ndarray) -> None:
        """Take one step of the optimiser on the next batch of `order`."""
        if not self.model.training:
            self.model.train()
        own, training = self.group.sub_batch(indices), self.run.spec.training
        number = len(self._losses)
        self.optimiser.zero_grad()
        pieces = self.data.pieces(own.indices, TRAINING_PAIRS)
        total = torch.zeros((), device=self.device)
        for place, piece in enumerate(pieces, start=1):
            batch = self.data.batch(piece).to(self.device)
            set_dropout_keys(
                self.model, batch.utterances, self.run.seed, self.run.fold, self.epoch, number
            )
            size = len(piece) if own.size else 0
            with self.group.averaging_gradients(self.loss, is_last=place == len(pieces)):
                with casting(training.precision, self.device):
                    loss = self.loss(batch)
                (loss * self.group.loss_weight(size, len(indices))).backward()
            total += loss.detach() * size
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        if training.clip_value is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), training.clip_value)
        self.optimiser.step()
        self.add_losses(total, len(indices))

    def add_losses(self, total: Tensor, num_utterances: int) -> None:
        """Add the () sum of the losses of `num_utterances` to the mean loss of the epoch."""
        self._losses.append(total)
        self._seen += num_utterances

    def close_epoch(self, dev_logits: Tensor) -> Epoch:
        """Score dev, add an epoch to the curve, and keep the weights if the score is a new best.

        Raises `RunFailed` if the loss of the epoch is not finite.
        """
        train_loss = float(self.group.sum(torch.stack(self._losses).sum())) / self._seen
        self._losses, self._seen = [], 0
        number = self.epoch + 1
        predicted, dev_loss = self.predictions("dev", dev_logits)
        scores = predicted.scores()
        chosen = f"dev_{self.run.spec.training.select_by}"
        best = max((getattr(e, chosen) for e in self.progress.curve), default=-1.0)
        entry = Epoch(
            epoch=number,
            train_loss=train_loss,
            dev_loss=dev_loss,
            dev_wa=scores.wa,
            dev_ua=scores.ua,
            dev_macro_f1=scores.macro_f1,
            ended_ms=milliseconds(),
        )
        entry = self.group.agree(entry, self.device)
        # The dev loss counts too: only dev is computed with the weights of the last step.
        loss = entry.train_loss + entry.dev_loss
        if not np.isfinite(loss):
            raise RunFailed(
                f"the loss is {loss} in epoch {number}; lower training.learning_rate or set "
                "training.clip_norm"
            )
        self.progress.curve.append(entry)
        if getattr(entry, chosen) > best:
            self.progress.best_epoch = number
            self.progress.best_weights = copy.deepcopy(kept_state(self.model))
        return entry

    @torch.no_grad()
    def logits(self, part: str) -> Tensor:
        """(N, K) logits of a part, in the part's order, on the CPU."""
        self.model.eval()
        row = {utterance: n for n, utterance in enumerate(self.data.parts[part])}
        # Each process fills the rows of its batches. The others stay zero, so the sum has all rows.
        found = torch.zeros(len(row), self.sizes.num_classes, device=self.device)
        for indices in self.group.every_nth(self.data.evaluation_order(part)):
            batch = self.data.batch(indices).to(self.device)
            with casting(self.run.spec.training.precision, self.device):
                logits = self.model(batch)
            found[[row[i] for i in indices.tolist()]] = logits.float()
        return self.group.sum(found).cpu()

    def predictions(self, part: str, logits: Tensor) -> tuple[Predictions, float]:
        """The predictions that (N, K) logits of a part give, and their mean cross entropy."""
        labels = self.data.labels(part)
        predictions = Predictions(
            utterances=tuple(self.data.corpus.utterances[i].id for i in self.data.parts[part]),
            classes=self.data.corpus.classes,
            labels=labels,
            probabilities=logits.double().softmax(dim=1).numpy(),
        )
        return predictions, float(F.cross_entropy(logits, torch.as_tensor(labels)))

    def use_best_weights(self) -> None:
        """Give the model the weights of the best epoch."""
        load_kept_state(self.model, self.progress.best_weights)

    def state(self) -> dict[str, Any]:
        """The state that a resumed run needs, for `torch.save`."""
        return {
            "model": kept_state(self.model),
            "optimiser": self.optimiser.state(),
            "best_weights": self.progress.best_weights,
            "best_epoch": self.progress.best_epoch,
            "curve": [asdict(e) for e in self.progress.curve],
            "started_ms": self.progress.started_ms,
            "computed_s": self.progress.computed_s,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; its tensors may be on another device."""
        best = {name: weight.to(self.device) for name, weight in state["best_weights"].items()}
        load_kept_state(self.model, state["model"])
        self.optimiser.load_state(state["optimiser"])
        self.progress = RunProgress(
            curve=[Epoch(**e) for e in state["curve"]],
            best_epoch=state["best_epoch"],
            best_weights=best,
            started_ms=state["started_ms"],
            computed_s=state["computed_s"],
        )


def kept_state(model: System) -> dict[str, Tensor]:
    """The model's weights and buffers, without frozen weights that an encoder's folder has."""
    left_out = _frozen_names(model)
    return {name: value for name, value in model.state_dict().items() if name not in left_out}


def load_kept_state(model: System, state: Mapping[str, Tensor]) -> None:
    """Give the model what `kept_state` gave; its other weights stay."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) != _frozen_names(model):
        raise ValueError(f"expected the kept weights of {type(model).__name__}, got others")


def _frozen_names(model: System) -> set[str]:
    frozen = {id(weight) for weight in model.pretrained() if not weight.requires_grad}
    named = model.named_parameters(remove_duplicate=False)
    return {name for name, weight in named if id(weight) in frozen}


def seed_of(run: Run, *what: object) -> int:
    """A 63-bit seed for one purpose of one run, from the run's seed, its fold and `what`."""
    text = "/".join(map(str, (run.seed, run.fold, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
