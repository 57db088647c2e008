"""Dropout whose masks are a function of what they fall on, not of a shared generator.

A mask's bit comes from an integer hash of (run seed, step, site, utterance, position, channel). So
a run drops the same values alone or beside others, with more or less padding, in another batch
order, after a resume, and on any device.
"""

import functools
import hashlib

import numpy as np
import torch
from torch import Tensor, nn


@functools.cache
def _tensor(number: float, dtype: torch.dtype) -> Tensor:
    """A number as an operation on tensors takes it: a Python number is converted at every call."""
    return torch.tensor(number, dtype=dtype)


# Odd constants from the golden ratio and murmur3's finaliser, as signed 32-bit numbers.
_AXIS_STRIDES = (-1640531535, 668265263, 374761393)
_MIX = tuple(_tensor(n, torch.int32) for n in (-2048144789, -1028477387))
_SHIFTS = tuple(_tensor(n, torch.int32) for n in (16, 13))
_HALF, _LOWER_HALF = (_tensor(n, torch.int32) for n in (16, 0xFFFF))

LARGE = 2**15
"""Places from which on a mask of attention is made head by head."""


class Dropout(nn.Module):
    """Sets a share `p` of values to zero in training and scales the others by 1 / (1 − p).

    `key` is an int32 (B,) tensor, one number an utterance, set by `set_dropout_keys` before every
    training step; `RuntimeError` without it.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {p}")
        self.p = p
        self.key: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) → the same shape."""
        if not self.training or self.p == 0:
            return x
        if self.key is None:
            raise RuntimeError("dropout in training needs set_dropout_keys before the step")
        return x * self.mask(self.key, x.shape[1:]).to(x.dtype)

    def mask(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What (B, *shape) values are multiplied by, for (B,) keys."""
        return scaled_mask(key, shape, self.p)


def scaled_mask(key: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    """(B, *shape) float32 from (B,) int32 keys: 0 with probability p, else 1 / (1 − p)."""
    # A code has 32 bits, two neighbours' 16: p is rounded to a 65536th, to 1 of them at least.
    *axes, size = shape
    pairs = (size + 1) // 2
    mask = torch.empty(len(key), *axes, 2 * pairs, device=key.device)
    *strides, last = _AXIS_STRIDES[: len(shape)]
    rows = key
    for length, stride in zip(axes, strides, strict=True):
        rows = rows[..., None] + _axis(length, stride, key.device)
    codes = _axis(pairs, last, key.device)
    if key.device.type == "cpu" and rows[0].dim() == 2 and rows[0].numel() * pairs > LARGE:
        # A dozen passes over what a core's cache holds take half the time of those over all.
        for head, part in zip(mask.flatten(0, 1), rows.flatten(0, 1), strict=True):
            _fill(head, part[..., None] + codes, p)
    else:
        _fill(mask, rows[..., None] + codes, p)
    return mask if size == 2 * pairs else mask[..., :size]


def _fill(mask: Tensor, code: Tensor, p: float) -> None:
    """1 / (1 − p) where the 16-bit code of a place is not among the least share `p`, else 0.

    By arithmetic, since a comparison and what it gives, a bool tensor, take many times as long.
    """
    least = min(max(round(p * 2**16), 1), 2**16 - 1) - 2**15
    halves = _mix_(code).view(torch.int16)
    kept = halves.clamp_(least - 1, least).sub_(_tensor(least - 1, torch.int16))
    mask.copy_(kept).mul_(_tensor(1 / (1 - p), torch.float32))


def _axis(size: int, stride: int, device: torch.device) -> Tensor:
    """(size,) int32 codes of the places along an axis; a place's does not depend on `size`."""
    return _axis_up_to(1 << (size - 1).bit_length(), stride, device)[:size]


# Never forgotten: what a GPU recorded reads it where it was.
@functools.cache
def _axis_up_to(size: int, stride: int, device: torch.device) -> Tensor:
    return torch.arange(size, dtype=torch.int32, device=device) * stride


def _mix_(code: Tensor) -> Tensor:
    """Murmur3's finaliser in place; every bit depends on every bit of `code`.

    Its first two shifts bring ones in where a number is negative, which a logical shift would not:
    a code and its complement are given the same, and a pass over the codes is saved.
    """
    for shift, factor in zip(_SHIFTS, _MIX, strict=True):
        code.bitwise_xor_(code >> shift).mul_(factor)
    return code.bitwise_xor_((code >> _HALF).bitwise_and_(_LOWER_HALF))


def set_dropout_keys(model: nn.Module, utterances: Tensor, *parts: int) -> None:
    """Key every dropout of `model` by its place in the model, by `parts` and by utterance.

    `parts` are what tells this step from every other: run seed, fold, step. `utterances` is (B,)
    int64.
    """
    places = sites(model)
    codes = torch.as_tensor(site_codes(len(places), *parts), device=utterances.device)
    for site, key in zip(places, site_keys(codes, utterances), strict=True):
        site.key = key


def sites(model: nn.Module) -> list[Dropout]:
    """The places in a model where values are dropped, in their order."""
    return [m for m in model.modules() if isinstance(m, Dropout)]


def site_codes(num_sites: int, *parts: int) -> np.ndarray:
    """(num_sites,) int32: a code for every site in the step that `parts` tell from others."""
    codes = hashlib.shake_128(",".join(map(str, parts)).encode()).digest(4 * num_sites)
    return np.frombuffer(codes, "<i4").astype(np.int32)


def site_keys(codes: Tensor, utterances: Tensor) -> Tensor:
    """(…, sites) int32 codes and (…, B) int64 utterances → (…, sites, B) int32 keys."""
    ids = utterances.to(torch.int32) * _AXIS_STRIDES[0]
    return _mix_(ids[..., None, :] ^ codes[..., None])
