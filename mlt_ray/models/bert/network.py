"""Bert alone (Table 3), and the pre-trained CLS vector that the multi-granularity model shares.

Shapes: B utterances, L word pieces, E values of a CLS vector.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.encoders.pretrained import load_model
from mlt_ray.models.bert.values import BertSpec, EncoderSpec
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System


class ClsVector(nn.Module):
    """The pre-trained encoder's CLS vector of an utterance's text, of `dim` values."""

    def __init__(self, spec: EncoderSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.encoder = None
        if not spec.fine_tune:
            self.dim = sizes.extras["text_embedding"]
            return
        if sizes.encoder is None:
            raise ValueError("an encoder that is fine-tuned needs its folder in InputSizes.encoder")
        self.encoder = load_encoder(sizes.encoder)
        self.dim = self.encoder.config.hidden_size

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, E): the encoder's last output at CLS."""
        if self.encoder is None:
            return batch.extras["text_embedding"]
        pieces = batch.extras["pieces"]
        mask = (pieces != self.encoder.config.pad_token_id).long()
        vector: Tensor = self.encoder(input_ids=pieces, attention_mask=mask).last_hidden_state[:, 0]
        return vector


@builds(BertSpec)
class Bert(System):
    """A linear layer on the CLS vector."""

    def __init__(self, spec: BertSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = ClsVector(spec, sizes)
        self.dropout = Dropout(spec.dropout)
        self.classifier = nn.Linear(self.text.dim, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        return self.classifier(self.dropout(self.text(batch)))


def load_encoder(folder: Path) -> Any:
    """The pre-trained module in `folder`, in float32, with our dropout in place of torch's.

    With torch's dropout, a resumed run would drop other values than one that was never interrupted.
    The pooler, which reads CLS for BERT's next-sentence task, is left out.
    """
    encoder = load_model(folder, keyed_attention)
    if hasattr(encoder, "pooler"):
        encoder.pooler = None
    for module in list(encoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, Dropout(child.p))
    return encoder


def keyed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention as transformers calls it, with the module's keyed dropout.

    (B, heads, L, D) queries, keys and values, and an additive (B, 1, L, L) mask or None →
    (B, L, heads, D) and the (B, heads, L, L) weights. The attention of transformers itself would
    apply torch's dropout.
    """
    scores = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = module.dropout(scores.softmax(dim=-1))
    return (weights @ value).transpose(1, 2).contiguous(), weights
