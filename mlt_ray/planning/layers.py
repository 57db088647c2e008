"""What rows ask of pre-trained encoders, checked before anything is computed."""

from collections.abc import Iterator

from mlt_ray.encoders.folder import Encoders, encoder_name
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
                "features.pad_to_30s: expected false where no Whisper hears, got true for "
                f"{encoder_name(identity)}; remove it"
            )
        if not isinstance(layer, int):
            continue
        try:
            layer_index(layer, shape.num_layers + 1)
        except UserError as error:
            raise UserError(f"{where.removesuffix('layer')}{error}") from error


def _asked(row: Row) -> Iterator[tuple[str, str, Layer]]:
    """The key of a study that asks for a layer, the encoder's name@digest, and the layer."""
    model, frames = row.model, row.features.frames
    if model.speech_encoder is not None:
        yield "model.speech_layer", model.speech_encoder, _speech_layer(row)
    if frames.encoder is not None and model.frames is None:
        yield "features.frames.layer", frames.encoder, frames.layer


def _check_trained_text(row: Row, identity: str, encoders: Encoders) -> None:
    if row.model.fine_tuning == "last_n":
        from mlt_ray.encoders.text import num_blocks
        from mlt_ray.encoders.trained import check_blocks

        check_blocks(_last_n(row), num_blocks(encoders.folder(identity)), encoder_name(identity))


def _check_trained_speech(row: Row, identity: str, encoders: Encoders) -> None:
    from mlt_ray.encoders.opening import encoder_shape
    from mlt_ray.encoders.trained import check_adapters, trained_layers

    shape, name, how = (
        encoder_shape(encoders.folder(identity)),
        encoder_name(identity),
        row.model.fine_tuning,
    )
    if how == "lora":
        check_adapters(shape.takes_adapters, name)
    trained_layers(
        shape.num_layers, how, last_n=_last_n(row), layer=_speech_layer(row), encoder=name
    )


# As `speech_encoder`, both have these names in every system that comes along.
def _speech_layer(row: Row) -> Layer:
    layer: Layer = getattr(row.model, "speech_layer", "last")
    return layer


def _last_n(row: Row) -> int:
    last_n: int = getattr(row.model, "last_n", 1)
    return last_n
