"""Configuration of the learnt alignment of H. Xu et al."""

from dataclasses import dataclass
from typing import Literal

from mlt_ray.parsing import SHARE, at_least, require
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
    dense_width: int = 512
    width: int = 100
    num_heads: int = 8
    dropout: float = 0.5
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self, at_least(1), "dense_width", "width", "num_heads")
        require(self, SHARE, "dropout", "attention_dropout")
        if 2 * self.width % self.num_heads:
            raise ValueError(
                f"width: expected twice of it to be a multiple of num_heads ({self.num_heads}), "
                f"got {self.width}"
            )
