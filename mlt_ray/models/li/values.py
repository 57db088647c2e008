"""Configuration of the cross modality excitement of H. Li et al."""

from dataclasses import dataclass
from typing import Annotated

from mlt_ray.parsing import Kernel, Range, Width
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
    channels: Width = 64
    first_kernel: Kernel = 5
    next_kernel: Kernel = 2
    width: Annotated[int, Range(2, 10_000_000)] = 256
    recurrent_width: Width = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise ValueError(f"width: expected an even number, got {self.width}")

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """The frames in which each word was spoken."""
        return (ExtraInput("alignment"),)
