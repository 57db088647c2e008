"""Configuration of the cross modality excitement of H. Li et al."""

from dataclasses import dataclass

from mlt_ray.parsing import at_least, require
from mlt_ray.spec import ExtraInput, ModelSpec


@dataclass(frozen=True, kw_only=True)
class LiSpec(ModelSpec):
    """Configuration of the cross modality excitement.

    All values are from the code: `channels` and `first_kernel` of the first convolution,
    `next_kernel` of the second and third (which have half of `width` channels), `width` of a word
    in each modality and `recurrent_width`, the units in each direction. There is no dropout: the
    code sets one on a single recurrent layer, where torch applies none.
    """

    system: str = "li"
    channels: int = 64
    first_kernel: int = 5
    next_kernel: int = 2
    width: int = 256
    recurrent_width: int = 256

    def __post_init__(self) -> None:
        require(self, at_least(1), "channels", "recurrent_width", "first_kernel", "next_kernel")
        require(self, at_least(2), "width")
        if self.width % 2:
            raise ValueError(f"width: expected an even number, got {self.width}")

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """The frames in which each word was spoken."""
        return (ExtraInput("alignment"),)
