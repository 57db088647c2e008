"""Configuration of the multilevel transformer."""

from dataclasses import dataclass
from typing import Annotated, Literal

from mlt_ray.parsing import Kernel, Layers, Range, Rate, Width
from mlt_ray.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class MultilevelSpec(ModelSpec):
    """Configuration of the multilevel transformer.

    From the paper: `width` (4.2), `highway_layers` (3.1.4), `prenet_layers` (3.1.1), the layer
    counts of the three transformer modules (Table 2). `deep_fusion_layers: 0` is the ablation
    *w/o deep fusion*: max pooling, and no dummy mel vector. `inputs` other than ``both`` are
    diagnostics of ours. Every other value is *assumed*.

    `dropout` applies where the vanilla transformer has it (Vaswani et al. 2017, section 5.4, the
    paper's reference 16): to the output of each sub-layer and to the sums of embeddings and
    positions. `attention_dropout` applies to attention weights. Later code (torch.nn's layers) has
    it and the vanilla transformer's paper does not, so it is 0 (*assumed*).

    `tts_weight` is the weight of the loss of speech synthesis, which is added to cross entropy
    (3.1.6). 0 is the paper's final choice; it publishes no weight for the joint loss that it tried.
    With a weight, the learning curve shows the joint loss for train and cross entropy alone for
    dev. `tts_stop_weight` is the weight of the last position in the loss of stop tokens
    (Transformer TTS: 5 to 8).
    """

    system: str = "multilevel"
    inputs: Literal["both", "audio", "text"] = "both"
    text: Literal["highway", "concatenation", "phoneme", "word"] = "highway"
    width: Width = 128
    num_heads: Width = 4
    feed_forward: Width = 512
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.0
    text_encoder_layers: Layers = 1
    cross_modality_layers: Layers = 1
    deep_fusion_layers: Layers = 2
    highway_layers: Layers = 2
    phoneme_dim: Width = 64
    phoneme_channels: Width = 100
    phoneme_kernel: Kernel = 5
    prenet_layers: Layers = 3
    prenet_kernel: Kernel = 5
    prenet_dropout: Rate = 0.2
    mel_prenet_width: Width = 256
    mel_prenet_dropout: Rate = 0.2
    tts_weight: Annotated[float, Range(0, 1_000_000)] = 0.0
    tts_stop_weight: Annotated[float, Range(0, 1_000_000, without_lowest=True)] = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.num_heads:
            raise ValueError(
                f"width: expected a multiple of num_heads ({self.num_heads}), got {self.width}"
            )
        if self.tts_weight:
            self._check_synthesis()

    @property
    def reads_words(self) -> bool:
        """True unless the inputs are audio alone."""
        return self.inputs != "audio"

    @property
    def reads_audio(self) -> bool:
        """True unless the inputs are text alone."""
        return self.inputs != "text"

    @property
    def can_be_packed(self) -> bool:
        """True for every configuration."""
        return True

    def _check_synthesis(self) -> None:
        """`ValueError` if the network has nothing to predict frames from."""
        if self.inputs != "both":
            raise ValueError(f"inputs: expected both where tts_weight is set, got {self.inputs}")
        for name in ("cross_modality_layers", "deep_fusion_layers"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least 1 where tts_weight is set, got 0")
