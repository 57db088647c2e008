"""What rows ask of speech encoders, checked before anything is computed."""

from collections.abc import Iterator

from mlt_ray.encoders.folder import Encoders
from mlt_ray.errors import UserError
from mlt_ray.spec import Layer
from mlt_ray.studies.study import Row


def check_layers(row: Row, encoders: Encoders) -> None:
    """`UserError` if a row, whose encoders are named, asks for a layer that an encoder lacks.

    Also if recordings shall be padded to 30 seconds for an encoder that is no Whisper.
    """
    for where, identity, layer in _asked(row):
        if not isinstance(layer, int) and not row.features.pad_to_30s:
            continue
        # Not at the top: they import torch.
        from mlt_ray.encoders.embedding import layer_index
        from mlt_ray.encoders.opening import encoder_shape

        shape = encoder_shape(encoders.folder(identity))
        name = identity.partition("@")[0]
        if row.features.pad_to_30s and not shape.pads_to_30s:
            raise UserError(
                f"row {row.name}: features.pad_to_30s: expected false where no Whisper hears, got "
                f"true for {name}; remove it"
            )
        if not isinstance(layer, int):
            continue
        if where == "model.last_n" and -layer - 1 > shape.num_layers:
            raise UserError(
                f"row {row.name}: {where}: expected at most the {shape.num_layers} blocks of "
                f"{name}, got {-layer - 1}; lower it"
            )
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
    if frames.encoder is not None and (model.frames is None or model.fine_tuning == "last_n"):
        where = "features.frames.layer" if model.frames is None else "model.last_n"
        yield where, frames.encoder, frames.layer
