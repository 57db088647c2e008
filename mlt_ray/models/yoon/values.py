"""Configuration of the dual recurrent encoder of S. Yoon et al."""

from dataclasses import dataclass
from typing import Annotated, Literal

from mlt_ray.parsing import Range, Rate
from mlt_ray.spec import ExtraInput, ModelSpec


@dataclass(frozen=True, kw_only=True)
class YoonSpec(ModelSpec):
    """Configuration of the dual recurrent encoder.

    ``mdre`` concatenates the last states of the two encoders. In ``mdrea`` the audio's last state
    is the query of an attention over the words. From the code: `width`, and the dropout rates: the
    code keeps 0.7 of the audio and 0.3 of the text. *Assumed*: the row of Table 1 is ``mdrea``,
    which the multilevel transformer's paper describes (section 2).
    """

    system: str = "yoon"
    variant: Literal["mdrea", "mdre"] = "mdrea"
    width: Annotated[int, Range(2, 10_000_000)] = 200
    audio_dropout: Rate = 0.3
    text_dropout: Rate = 0.7

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """A vector of prosody for every utterance."""
        return (ExtraInput("prosody"),)
