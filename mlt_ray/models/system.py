"""What the training loop asks of every system."""

import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import Batch


class System(nn.Module):
    """A module whose `forward` gives the logits of a batch, (B, 4) in the order of `CLASSES`."""

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss of a batch: cross entropy (equation 4), unless a system has another."""
        return F.cross_entropy(self(batch), batch.labels)
