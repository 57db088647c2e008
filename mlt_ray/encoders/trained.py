"""What of a pre-trained encoder can be trained; `UserError` says what a configuration may ask."""

from mlt_ray.encoders.embedding import layer_index
from mlt_ray.errors import UserError
from mlt_ray.spec import FineTuning, Layer


def check_blocks(last_n: int, num_blocks: int, encoder: str) -> None:
    """`UserError` if an encoder has fewer than `last_n` blocks."""
    if last_n > num_blocks:
        raise UserError(
            f"model.last_n: expected at most the {num_blocks} blocks of {encoder}, got {last_n}; "
            "lower it"
        )


def check_adapters(takes_adapters: bool, encoder: str) -> None:
    """`UserError` if an encoder has no linear layers that adapters are set on."""
    if not takes_adapters:
        raise UserError(f"model.fine_tune: expected last_n or all for {encoder}, got lora")


def trained_layers(
    num_blocks: int, how: FineTuning, *, last_n: int, layer: Layer, encoder: str
) -> tuple[int, int]:
    """The last layer of a speech encoder that is frozen, and the last that is read.

    `UserError` if it has fewer blocks, or if `layer` is one that nothing trained gives.
    """
    frozen = 0
    if how == "last_n":
        check_blocks(last_n, num_blocks, encoder)
        frozen = num_blocks - last_n
    read = num_blocks if layer == "weighted" else layer_index(layer, num_blocks + 1)
    if read <= frozen:
        raise UserError(
            f"model.speech_layer: expected a layer behind {frozen}, the last that is frozen, got "
            f"{layer}; raise last_n or set another layer"
        )
    return frozen, read
