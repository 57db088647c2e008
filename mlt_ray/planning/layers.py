"""What rows ask of pre-trained encoders, checked before anything is computed."""

from collections.abc import Iterator

from mlt_ray.encoders.folder import Encoders
from mlt_ray.errors import UserError
from mlt_ray.spec import Layer
from mlt_ray.studies.study import Row


def check_layers(row: Row, text_encoders: Encoders, speech_encoders: Encoders) -> None:
    """`UserError` if a row, whose encoders are named, asks for what an encoder does not have.

    That is a layer, blocks or adapters to be trained, and padding to 30 seconds.
    """
    _check_speech_layers(row, speech_encoders)
    if row.model.fine_tuning is False:
        return
    if row.model.text_encoder is not None:
        _check_trained_text(row, row.model.text_encoder, text_encoders)
    if row.model.speech_encoder is not None and row.model.frames is not None:
        _check_trained_speech(row, row.model.speech_encoder, speech_encoders)


def _check_speech_layers(row: Row, encoders: Encoders) -> None:
    for where, identity, layer in _asked(row):
        if not isinstance(layer, int) and not row.features.pad_to_30s:
            continue
        # Not at the top: they import torch.
        from mlt_ray.encoders.embedding import layer_index
        from mlt_ray.encoders.opening import encoder_shape

        shape = encoder_shape(encoders.folder(identity))
        if row.features.pad_to_30s and not shape.pads_to_30s:
            raise UserError(
                f"row {row.name}: features.pad_to_30s: expected false where no Whisper hears, got "
                f"true for {_name(identity)}; remove it"
            )
        if not isinstance(layer, int):
            continue
        try:
            layer_index(layer, shape.num_layers + 1)
        except UserError as error:
            raise UserError(f"row {row.name}: {where.removesuffix('layer')}{error}") from error


def _asked(row: Row) -> Iterator[tuple[str, str, Layer]]:
    """The key of a study that asks for a layer, the encoder's name@digest, and the layer."""
    model, frames = row.model, row.features.frames
    if model.speech_encoder is not None:
        # As `speech_encoder`, it has this name in every system that comes along.
        yield "model.speech_layer", model.speech_encoder, getattr(model, "speech_layer", "last")
    if frames.encoder is not None and model.frames is None:
        yield "features.frames.layer", frames.encoder, frames.layer


def _check_trained_text(row: Row, identity: str, encoders: Encoders) -> None:
    if row.model.fine_tuning != "last_n":
        return
    from mlt_ray.encoders.text import num_blocks

    _check_blocks(row, num_blocks(encoders.folder(identity)), identity)


def _check_trained_speech(row: Row, identity: str, encoders: Encoders) -> None:
    from mlt_ray.encoders.embedding import layer_index
    from mlt_ray.encoders.opening import encoder_shape

    shape = encoder_shape(encoders.folder(identity))
    if row.model.fine_tuning == "lora" and not shape.takes_adapters:
        raise UserError(
            f"row {row.name}: model.fine_tune: expected last_n or all for {_name(identity)}, got "
            "lora"
        )
    frozen = 0
    if row.model.fine_tuning == "last_n":
        frozen = shape.num_layers - _check_blocks(row, shape.num_layers, identity)
    layer: Layer = getattr(row.model, "speech_layer", "last")
    if layer != "weighted" and layer_index(layer, shape.num_layers + 1) <= frozen:
        raise UserError(
            f"row {row.name}: model.speech_layer: expected a layer behind {frozen}, the last that "
            f"is frozen, got {layer}; raise last_n or set another layer"
        )


def _check_blocks(row: Row, num_blocks: int, identity: str) -> int:
    """How many of an encoder's blocks the row trains, if it has as many."""
    # It has this name in every system that trains blocks.
    last_n: int = getattr(row.model, "last_n", 1)
    if last_n > num_blocks:
        raise UserError(
            f"row {row.name}: model.last_n: expected at most the {num_blocks} blocks of "
            f"{_name(identity)}, got {last_n}; lower it"
        )
    return last_n


def _name(identity: str) -> str:
    return identity.partition("@")[0]
