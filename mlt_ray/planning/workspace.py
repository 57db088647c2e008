"""What every command that trains has in common: the corpus, the store, the tools, the machines."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.display.bars import Bars
from mlt_ray.errors import UserError
from mlt_ray.planning.prepare import prepare
from mlt_ray.planning.resolve import Tools, check_usable
from mlt_ray.planning.resources import LOCAL, Node, Resources, check_fits, ray_address
from mlt_ray.spec import NO_TF32, TrainingSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row

if TYPE_CHECKING:
    from mlt_ray.tracking.tracker import Tracker


def gpus_here() -> int:
    """GPUs of this machine."""
    # Torch takes a second to import: only who asks for a GPU needs it here.
    import torch

    return torch.cuda.device_count()


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a command finds what it needs, and where it computes."""

    corpus: Path
    store: Store
    glove: Path | None = None
    encoder: str | None = None
    speech_encoder: str | None = None
    tracking_uri: str | None = None
    address: str | None = None
    resources: Resources = field(default_factory=Resources)

    def open(self, console: Console) -> tuple[Corpus, Tools]:
        """The corpus and what computes its text features; `UserError` if one cannot be used.

        Also where this machine, which is to compute by itself, has too little for a run.
        """
        self._check_machine()
        with console.status("reading the corpus"):
            corpus = read_corpus(self.corpus)
            check_usable(corpus, self.corpus)
            tools = Tools.load(self.glove, self.encoder, self.speech_encoder)
        console.print(
            f"corpus: {corpus.name}, {len(corpus)} utterances, fingerprint {corpus.fingerprint}",
            highlight=False,
        )
        return corpus, tools

    def _check_machine(self) -> None:
        """What a cluster has is known when it is joined; what this machine has, at once."""
        if ray_address(self.address) == LOCAL:
            asked = self.resources
            uses_gpu = asked.gpus_per_run or asked.gpus_per_worker or asked.cuda_graphs
            check_fits(asked, [Node(os.cpu_count() or 1, gpus_here() if uses_gpu else 0)])

    def with_gpus_here(self) -> Resources:
        """The resources, a run's GPU filled in where this machine computes by itself and has one.

        What a cluster has is not known before it is joined.
        """
        if self.resources.gpus_per_run is not None or ray_address(self.address) != LOCAL:
            return self.resources
        return replace(self.resources, gpus_per_run=min(1, gpus_here()))

    def check_precision(self, trainings: Iterable[TrainingSpec]) -> None:
        """`UserError` where this machine, if it computes by itself, lacks one's precision."""
        wants_gpu = any(training.precision == "tf32" for training in trainings)
        if wants_gpu and ray_address(self.address) == LOCAL and not gpus_here():
            raise UserError(NO_TF32)

    def prepare(self, corpus: Corpus, rows: Sequence[Row], tools: Tools, console: Console) -> None:
        """Put every feature that the (resolved) rows read into the store."""
        self.check_precision(row.training for row in rows)
        with Bars(console) as bars:
            prepare(corpus, rows, self.store, tools, bars.show)
        computed = ", ".join(f"{total} {what}" for what, total in bars.totals.items())
        console.print(f"features: {computed or 'cached'}", highlight=False)

    def tracker(self, plans: Sequence[dict[str, Any]]) -> "Tracker":
        """The tracker of recorded plans, with everything that MLflow lacked written."""
        # MLflow takes seconds to import: not before the user has seen what is going to happen.
        from mlt_ray.tracking.location import default_uri
        from mlt_ray.tracking.tracker import Tracker

        tracker = Tracker(self.store, self.tracking_uri or default_uri(self.store), plans)
        tracker.sync()
        return tracker
