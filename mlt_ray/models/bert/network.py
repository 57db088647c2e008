"""Bert alone (Table 3), and the pre-trained vector that the multi-granularity model shares.

Shapes: B utterances, L word pieces, E values of a vector.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.encoders.pretrained import load_model
from mlt_ray.encoders.text import mean_state
from mlt_ray.models.bert.values import BertSpec, EncoderSpec
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.fine_tuning import (
    keyed_attention,
    train_adapters,
    train_last,
    use_keyed_dropout,
)
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System

LORA_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "deberta": ("in_proj",),
    "deberta-v2": ("query_proj", "value_proj"),
    "distilbert": ("q_lin", "v_lin"),
    "mpnet": ("q", "v"),
}
"""Linear layers of attention that adapters are set on, where they are not ``query``, ``value``."""


class TextVector(nn.Module):
    """The pre-trained encoder's vector of an utterance's text, of `dim` values."""

    def __init__(self, spec: EncoderSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.encoder = None
        self.name = spec.extras[0].name
        self.is_mean = spec.pool == "mean"
        if not spec.fine_tune:
            self.dim = sizes.extras[self.name]
            return
        if sizes.encoder is None:
            raise ValueError("an encoder that is fine-tuned needs its folder in InputSizes.encoder")
        self.encoder = load_encoder(sizes.encoder, spec)
        self.dim = self.encoder.config.hidden_size

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, E): the encoder's last state at CLS, or the mean of all."""
        if self.encoder is None:
            return batch.extras[self.name]
        pieces = batch.extras[self.name]
        mask = (pieces != self.encoder.config.pad_token_id).long()
        states: Tensor = self.encoder(input_ids=pieces, attention_mask=mask).last_hidden_state
        if not self.is_mean:
            return states[:, 0]
        return mean_state(states, mask)


@builds(BertSpec)
class Bert(System):
    """A linear layer on the CLS vector."""

    def __init__(self, spec: BertSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = TextVector(spec, sizes)
        self.dropout = Dropout(spec.dropout)
        self.classifier = nn.Linear(self.text.dim, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        return self.classifier(self.dropout(self.text(batch)))

    def pretrained(self) -> Iterable[nn.Parameter]:
        """The weights of the encoder, where it is part of the network."""
        return self.text.parameters()


def load_encoder(folder: Path, spec: EncoderSpec) -> Any:
    """The pre-trained module in `folder`, in float32, with our dropout in place of torch's.

    `spec` says what of it is trained. The pooler, which reads CLS for BERT's next-sentence task, is
    left out.
    """
    encoder = load_model(folder, keyed_attention)
    if hasattr(encoder, "pooler"):
        encoder.pooler = None
    if spec.fine_tune == "last_n":
        train_last(encoder, blocks_of(encoder), spec.last_n)
    if spec.fine_tune == "lora":
        modules = LORA_MODULES.get(encoder.config.model_type, ("query", "value"))
        train_adapters(encoder, modules, spec.lora_rank)
    use_keyed_dropout(encoder)
    return encoder


def blocks_of(encoder: Any) -> list[nn.Module]:
    """The blocks of a text encoder, from the lowest up."""
    lists = (m for m in encoder.modules() if isinstance(m, nn.ModuleList))
    number = encoder.config.num_hidden_layers
    return next((list(blocks) for blocks in lists if len(blocks) == number), [])
