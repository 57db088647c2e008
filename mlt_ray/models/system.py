"""The base class of every network, and what a network must keep to.

Shapes: B utterances.
"""

from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import NO_LABEL, Batch


class System(nn.Module):
    """Base of every network: from a batch to the logits of its utterances.

    Beside it stands its configuration, a frozen dataclass, subclass of `ModelSpec`, with
    ``system: str = "NAME"``; every field is part of the run's digest. ``@builds(NameSpec)`` above
    the network joins the two. Both stand

    - in one file of a user's own, which a study names in ``models`` (`mlt_ray.models.own`), or
    - in a folder ``mlt_ray/models/NAME`` of this package: the configuration in ``values.py``, which
      imports no torch, the network in ``network.py``. Nothing else lists the folder
      (`mlt_ray.models.registry` finds it), and its test is ``tests/models/test_NAME.py``.

    **Constructor.** The network is called as ``Network(spec, sizes)``: the configuration, and the
    `InputSizes` of the fold (values a frame, vocabularies, word vectors, width of each extra). It
    draws its weights from torch's global generator, which the caller has seeded, in float32. It
    names no device: the caller chooses it.

    **forward(batch)** gives (B, K) logits of the corpus's K classes, in their order: the last layer
    has ``sizes.num_classes`` outputs and no softmax. `Batch` has frames, words and phonemes,
    their true lengths and masks, and in `extras` any further inputs that the configuration asks
    for; the network reads what it needs.

    **Padding** must not change an utterance's logits, and neither may the other utterances of the
    batch: mask it in attention, pooling and means, and read `num_frames` and `num_words` for the
    last state of a sequence. Use no batch norm.

    **Dropout** is `mlt_ray.models.Dropout`, never ``nn.Dropout`` or the ``dropout`` of
    torch's recurrent and transformer layers. Its masks follow from the run, step and utterance, so
    that a run gives the same numbers alone, in a pack and after a resume. The training loop sets
    its keys by `set_dropout_keys`.

    **Convolutions** over time are `mlt_ray.models.Conv1d`: torch's own is slow on a GPU
    whose kernels must be deterministic.

    **Packs.** A configuration whose property `can_be_packed` is True is trained with other runs
    under `torch.vmap`. Its forward pass may then have no step that depends on values of tensors (no
    ``.item()``, no ``if`` on a tensor), all its weights must be trained, it may have no recurrent
    layer of torch, and its loss must leave out utterances with `NO_LABEL`. `mlt_ray.models.flat`
    replaces layers, for speed: linear layers with a bias, convolutions with padding ``same``, and
    layer norm over the last axis. The default is False: runs are then trained one by one.

    **ONNX.** An export traces the forward pass on one batch. What Python computes there with
    ``len()`` or ``int()`` of a tensor would be a constant of the graph; ``x.shape[0]`` and sums of
    it are not. `mlt_ray.models.exportable` replaces layers that need more.

    The test file subclasses ``SystemChecks`` of ``tests/models/checks.py``, which checks all of
    this but packs and `NO_LABEL`.
    """

    def loss(self, batch: Batch) -> Tensor:
        """() mean loss of the batch's utterances: by default cross entropy (He et al., equation 4).

        Another loss must be a mean over utterances too, so that several processes can share a
        batch. Each utterance's loss counts as many times as `Batch.weights` says, and one with
        `NO_LABEL` does not count: `Batch.mean_loss` does both.
        """
        return cross_entropy(self(batch), batch)

    def details(self) -> dict[str, Any]:
        """What a run's report says of the trained network besides its scores, as plain values."""
        return {}

    def save_memory(self) -> None:
        """From now on compute what a gradient needs once more instead of keeping it, if it can."""

    def pretrained(self) -> Iterable[nn.Parameter]:
        """Weights of a pre-trained encoder, which ``training.encoder_learning_rate`` is for."""
        return ()


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """() mean cross entropy of (B, K) logits over the batch's utterances, with their weights."""
    if batch.weights is None:
        return F.cross_entropy(logits, batch.labels, ignore_index=NO_LABEL)
    losses = F.cross_entropy(logits, batch.labels, ignore_index=NO_LABEL, reduction="none")
    return batch.mean_loss(losses)
