"""What a network of one's own must keep to (`mlt_ray.models.system`), where it can be seen."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from mlt_ray.batch import Batch
from mlt_ray.errors import UserError
from mlt_ray.models.system import System


def keep_to_contract(network: System, source: str, num_classes: int) -> None:
    """Refuse layers that break it, and from now on logits of another shape than (B, K).

    Raises `UserError`, which begins with `source`, the `ModelSpec.source` of the file: here for
    layers, and in every forward pass for logits.
    """
    for name, layer in network.named_modules():
        if fault := _fault_of(layer):
            raise UserError(f"{source}: {name}: {fault}")

    def check(_: nn.Module, given: tuple[Any, ...], logits: Any) -> None:
        batch: Batch = given[0]
        expected, got = (len(batch), num_classes), getattr(logits, "shape", type(logits).__name__)
        if got != expected:
            text = tuple(got) if not isinstance(got, str) else got
            raise UserError(
                f"{source}: expected logits of shape (B, K) = {expected}, a column for each of "
                f"sizes.num_classes, got {text}"
            )

    network.register_forward_hook(check)


def check_packable(network: nn.Module, source: str) -> None:
    """`UserError` if runs of the network cannot be trained as a pack, although it says so."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.RNNBase):
            raise _not_packable(source, f"{name} is a {type(layer).__name__}")
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            raise _not_packable(source, f"{name} is not trained; make it a buffer")


def _not_packable(source: str, reason: str) -> UserError:
    return UserError(
        f"{source}: can_be_packed is True, but {reason}; let can_be_packed return False"
    )


def _fault_of(layer: nn.Module) -> str | None:
    """What is wrong with a layer, and the remedy; None if nothing is."""
    kind = type(layer).__name__
    if isinstance(layer, _DropoutNd):
        return (
            f"expected mlt_ray.models.Dropout, got torch's {kind}, whose masks are others in a "
            "pack and after a resume"
        )
    if isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and layer.dropout:
        return (
            f"expected a {kind} with dropout 0, got {layer.dropout}, whose masks are others in a "
            "pack and after a resume; set mlt_ray.models.Dropout beside it"
        )
    if isinstance(layer, _BatchNorm):
        return (
            f"expected logits that do not depend on the other utterances of a batch, got a {kind}; "
            "use nn.LayerNorm"
        )
    return None
