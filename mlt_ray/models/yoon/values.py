"""Configuration of the dual recurrent encoder of S. Yoon et al."""

from dataclasses import dataclass
from typing import Literal

from mlt_ray.parsing import SHARE, at_least, require
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
    width: int = 200
    audio_dropout: float = 0.3
    text_dropout: float = 0.7

    def __post_init__(self) -> None:
        require(self, at_least(2), "width")
        require(self, SHARE, "audio_dropout", "text_dropout")

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """A vector of prosody for every utterance."""
        return (ExtraInput("prosody"),)
