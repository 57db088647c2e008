"""The mean of an utterance's frames over time, and two linear layers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlt_ray.models import Batch, Dropout, InputSizes, ModelSpec, System, builds


@dataclass(frozen=True, kw_only=True)
class MeanFramesSpec(ModelSpec):
    system: str = "mean_frames"
    width: int = 64
    dropout: float = 0.1

    @property
    def can_be_packed(self) -> bool:
        return True

    @property
    def reads_words(self) -> bool:
        return False


@builds(MeanFramesSpec)
class MeanFrames(System):
    def __init__(self, spec: MeanFramesSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.hidden = nn.Linear(sizes.frame_dim, spec.width)
        self.dropout = Dropout(spec.dropout)
        self.classes = nn.Linear(spec.width, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        real = batch.frame_mask[..., None]
        mean = (batch.frames * real).sum(dim=1) / real.sum(dim=1)
        return self.classes(self.dropout(torch.relu(self.hidden(mean))))
