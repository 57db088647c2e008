"""A weighted mean of an encoder's layers. Shapes: S layers, C channels."""

import torch
from torch import Tensor, nn


class LayerMixture(nn.Module):
    """The mean of S layers, with weights that are learned and sum to 1 (SUPERB: Yang et al., 2021).

    All weigh the same at the start.
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Tensor:
        """(S,) weights, layer 0 first."""
        return self.scores.softmax(dim=0)

    def forward(self, layers: Tensor) -> Tensor:
        """(…, S, C) → (…, C)."""
        return self.weights @ layers

    def details(self, first_layer: int = 0) -> dict[str, float]:
        """The weights by the number of their layer, for a report."""
        return {
            str(number): round(weight, 6)
            for number, weight in enumerate(self.weights.tolist(), start=first_layer)
        }
