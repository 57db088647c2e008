"""Pre-trained encoders as part of a network: which weights are trained, and with our dropout.

Shapes: B texts or recordings, L positions, D values of a head.
"""

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor, nn

from mlt_ray.encoders.trained import check_adapters, check_blocks
from mlt_ray.models.dropout import Dropout

LORA_SCALE: Final = 2.0
"""Factor of an adapter's output (alpha / rank), *assumed*."""

SHARED_TABLES: Final = {"pos_dropout"}
"""Names of dropouts on values that all texts share: DeBERTa's table of relative positions."""


def train_last(encoder: nn.Module, blocks: Sequence[nn.Module], last_n: int) -> None:
    """Freeze all of an encoder but the last `last_n` of its `blocks`; `UserError` if fewer."""
    check_blocks(last_n, len(blocks), "the encoder")
    encoder.requires_grad_(False)
    for block in blocks[-last_n:]:
        block.requires_grad_(True)


def train_adapters(encoder: nn.Module, modules: Sequence[str], rank: int) -> None:
    """Freeze an encoder and add adapters of `rank` to its linear layers named `modules`.

    LoRA (Hu et al., 2022), by peft. Adapters draw their first factor from torch's global generator;
    the second is 0, so that the encoder computes at first what it did without. `UserError` if there
    are no such layers.
    """
    check_adapters(bool(modules), "this encoder")
    # Not at the top: it takes seconds to import.
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank,
        lora_alpha=int(LORA_SCALE * rank),
        lora_dropout=0.0,
        target_modules=list(modules),
    )
    inject_adapter_in_model(config, encoder)


def use_keyed_dropout(encoder: nn.Module) -> None:
    """Put our dropout in place of torch's; where all texts share the values, none.

    With torch's, a resumed run would drop other values than one that was never interrupted. Ours
    drops the values of each text by its own key, and a table that all share has none.
    """
    for module in list(encoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Identity() if name in SHARED_TABLES else Dropout(child.p))


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
    apply torch's dropout. A module whose dropout is a rate and no layer drops no weights here.
    """
    scores = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    if isinstance(module.dropout, nn.Module):
        weights = module.dropout(weights)
    return (weights @ value).transpose(1, 2).contiguous(), weights
