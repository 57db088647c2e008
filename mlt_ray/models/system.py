"""What the training loop asks of every system."""

import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import NO_LABEL, Batch


class System(nn.Module):
    """A module whose `forward` gives the logits of a batch, (B, 4) in the order of `CLASSES`."""

    def loss(self, batch: Batch) -> Tensor:
        """The mean of the utterances' losses: cross entropy, unless a system has another.

        Equation 4. A mean over utterances lets a batch be shared out among processes.
        """
        return F.cross_entropy(self(batch), batch.labels, ignore_index=NO_LABEL)
