"""WavLM: as wav2vec 2.0, with a bias of attention by distance. Shapes: B recordings, T states."""

import copy
import warnings
from typing import Any

from torch import Tensor

from mlt_ray.encoders.wav2vec2 import Wav2Vec2


class WavLM(Wav2Vec2):
    """WavLM. Its attention reads the weights of its own linear layers, past any adapter on them.

    So adapters stand on the layers behind attention. The bias by distance, which the first block
    has and all read, is part of the positions: it stays when blocks go, and is not trained.
    """

    lora_modules = ("intermediate_dense", "output_dense")

    def __init__(self, model: Any, prepare: Any) -> None:
        super().__init__(model, prepare)
        # Of transformers' own call of torch: a mask of bools beside a bias of floats.
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        attention = self.blocks[0].attention
        self.distances: Any = copy.deepcopy(attention).requires_grad_(False)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj", "gru_rel_pos_linear"):
            delattr(self.distances, name)
        del self.distances.gru_rel_pos_const
        del attention.rel_attn_embed

    def context(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The (B, T) mask, 1 where a state is real, and the (B · heads, T, T) bias."""
        size, length = mask.shape
        bias: Tensor = self.distances.compute_bias(length, length)
        return mask.long(), bias.repeat(size, 1, 1)

    def block(self, number: int, states: Tensor, context: tuple[Tensor, Tensor]) -> Tensor:
        """The next layer."""
        mask, bias = context
        found: Tensor = self.blocks[number - self.first](
            states, attention_mask=mask, position_bias=bias
        )[0]
        return found
