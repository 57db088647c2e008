"""A text encoder of random weights in a folder, small enough for every test to have its own."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from mlt_ray.encoders.text import OFFSET

WIDTH, POSITIONS = 12, 23
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 7,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
"""What the configurations of DeBERTa version 3 say, and in part of the first version."""

DROPOUT_RATES = [0.1] * (1 + 2 * 3)
"""Dropout rates of a BERT that is written here: of the embeddings, and three in either layer."""


def write_encoder(folder: Path, kind: str = "bert", seed: int = 0) -> Path:
    """An encoder of `kind` with a tokenizer that cuts words into letters; returns `folder`."""
    padding = 1 if kind in OFFSET else 0
    write_tokenizer(folder, padding)
    values = {
        "vocab_size": 4 + 2 * len(LETTERS),
        "hidden_size": WIDTH,
        "embedding_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 17,
        "hidden_dim": 17,
        "max_position_embeddings": POSITIONS + (2 if kind in OFFSET else 0),
        "pad_token_id": padding,
        "initializer_range": 0.5,
    }
    if kind.startswith("deberta"):
        values |= DEBERTA
    if kind == "distilbert":
        values.pop("intermediate_size")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModel.from_config(AutoConfig.for_model(kind, **values)).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, padding: int) -> None:
    special = ["[UNK]", "[CLS]", "[SEP]"]
    special.insert(padding, "[PAD]")
    vocabulary = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    ids = {piece: n for n, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(n, ids[n]) for n in ("[CLS]", "[SEP]")]
    )
    names = {f"{n}_token": f"[{n.upper()}]" for n in ("unk", "cls", "sep", "pad")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def change_config(folder: Path, **values: object) -> None:
    """Change values of the folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
