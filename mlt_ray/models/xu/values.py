"""Configuration of the learnt alignment of H. Xu et al."""

from dataclasses import dataclass
from typing import Literal

from mlt_ray.parsing import Rate, Width
from mlt_ray.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class XuSpec(ModelSpec):
    """Configuration of the learnt alignment.

    From the paper: `cell` (the code's configuration says ``gru``) and `width`, the units in each
    direction. From the code: `dense_width`, `num_heads`, and the form of the attention pooling.
    *Assumed*: `dropout` applies to the dense layer and to the classifier's input, and to nothing
    else; so `attention_dropout`, the rate for the alignment's weights, is 0.
    """

    system: str = "xu"
    cell: Literal["lstm", "gru"] = "lstm"
    dense_width: Width = 512
    width: Width = 100
    num_heads: Width = 8
    dropout: Rate = 0.5
    attention_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.width % self.num_heads:
            raise ValueError(
                f"width: expected twice of it to be a multiple of num_heads ({self.num_heads}), "
                f"got {self.width}"
            )
