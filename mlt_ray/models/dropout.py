"""Dropout whose masks are a function of what they fall on, not of a shared generator.

A mask's bit comes from integer codes of (run seed, step, site, utterance, position, channel). So a
run drops the same values alone or beside others, with more or less padding, in another batch order,
after a resume, and on any device.

Shapes: B utterances, T positions, C channels.
"""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

# Odd constants from the golden ratio and murmur3's finaliser, as signed 32-bit numbers.
_UTTERANCE_STRIDE, _CHANNEL_STRIDE = -1640531535, 374761393
_POSITION_STRIDES = (-1640531535, 668265263)
_SHIFTS, _MIX = (16, 13), (-2048144789, -1028477387)
_LOWER_HALF = 0xFFFF


class Codes:
    """Where a step's masks come from: for every site and utterance, codes of its positions."""

    def __init__(self, keys: Tensor) -> None:
        """`keys` is (sites, B) int32, as `site_keys` makes them."""
        self._keys = keys
        self._rows: Tensor | None = None

    def of(self, site: int, axes: Sequence[int]) -> Tensor:
        """(B, *axes) odd int32 codes; a place's does not depend on the sizes of axes."""
        if len(axes) > 1:
            return _odd(_position_codes(self._keys[site], axes))
        [size] = axes or (1,)
        if self._rows is None or self._rows.shape[2] < size:
            # Those of all sites at once, in place of a dozen small operations for each.
            self._rows = _odd(_position_codes(self._keys, (_round(size),)))
        rows = self._rows[site]
        return rows[:, :size] if axes else rows[:, 0]


class Dropout(nn.Module):
    """Sets a share `p` of values to zero in training and scales the others by 1 / (1 − p).

    `set_dropout_keys` gives it its codes before every training step; `RuntimeError` without them.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {p}")
        self.p = p
        self.codes: Codes | None = None
        self.site = 0

    @property
    def drops(self) -> bool:
        """Whether anything is dropped: in training, and not at a rate of 0."""
        return self.training and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, …, C) → the same shape."""
        if not self.drops:
            return x
        return self.drop(x, self.positions(x))

    def positions(self, x: Tensor) -> Tensor:
        """(B, …) codes of the positions of (B, …, C) values in this step."""
        if self.codes is None:
            raise RuntimeError("dropout in training needs set_dropout_keys before the step")
        return self.codes.of(self.site, x.shape[1:-1])

    def drop(self, x: Tensor, positions: Tensor) -> Tensor:
        """(B, …, C) values with a share set to zero, which (B, …) codes of positions decide."""
        return x * scaled_mask(positions, x.shape[-1], self.p).to(x.dtype)


def scaled_mask(positions: Tensor, size: int, p: float) -> Tensor:
    """(…, size) float32 for the (…) odd codes of positions: 0 with probability p, else 1 / (1 − p).

    A value's code is the product of the odd codes of its position and its channel, modulo 2^32: one
    multiplication a value, where hashing each takes a dozen operations. Codes of any two or three
    positions and channels are independent as far as tests can tell.
    """
    codes = positions[..., None] * channel_codes(size, positions.device)
    # The float's bits by arithmetic: a CPU is slow with comparisons and the bools that they give.
    least, bits = least_code(p), int(np.float32(1 / (1 - p)).view(np.int32))
    codes.clamp_(least - 1, least)
    nothing = torch.tensor(_signed((1 - least) * bits), dtype=torch.int32)
    return torch.add(nothing, codes, alpha=bits).view(torch.float32)


def least_code(p: float) -> int:
    """A value is kept where its code, a signed 32-bit number, is this one or above."""
    return min(max(round(p * 2**32), 1), 2**32 - 1) - 2**31


def channel_codes(size: int, device: torch.device) -> Tensor:
    """(size,) odd int32 codes of the channels; one's does not depend on `size`."""
    return _channel_codes_up_to(_round(size), device)[:size]


def set_dropout_keys(model: nn.Module, utterances: Tensor, *parts: int) -> None:
    """Key every dropout of `model` by its place in the model, by `parts` and by utterance.

    `parts` are what tells this step from every other: run seed, fold, step. `utterances` is (B,)
    int64.
    """
    places = sites(model)
    codes = torch.from_numpy(site_codes(len(places), *parts))
    give_keys(places, site_keys(codes.to(utterances.device, non_blocking=True), utterances))


def give_keys(places: Sequence[Dropout], keys: Tensor | None) -> None:
    """Give the sites of a model their (sites, B) keys of a step, or take the former ones away."""
    codes = None if keys is None else Codes(keys)
    for number, place in enumerate(places):
        place.codes, place.site = codes, number


def sites(model: nn.Module) -> list[Dropout]:
    """The places in a model where values are dropped, in their order."""
    return [m for m in model.modules() if isinstance(m, Dropout)]


def site_codes(num_sites: int, *parts: int) -> np.ndarray:
    """(num_sites,) int32: a code for every site in the step that `parts` tell from others."""
    codes = hashlib.shake_128(",".join(map(str, parts)).encode()).digest(4 * num_sites)
    return np.frombuffer(codes, "<i4").astype(np.int32)


def site_keys(codes: Tensor, utterances: Tensor) -> Tensor:
    """(…, sites) int32 codes and (…, B) int64 utterances → (…, sites, B) int32 keys."""
    ids = utterances.to(torch.int32) * _UTTERANCE_STRIDE
    return _mix(ids[..., None, :] ^ codes[..., None])


def _position_codes(keys: Tensor, axes: Sequence[int]) -> Tensor:
    """(…, *axes) int32 codes from (…) keys; a place's does not depend on the sizes of axes."""
    codes = keys
    for length, stride in zip(axes, _POSITION_STRIDES[: len(axes)], strict=True):
        codes = codes[..., None] + _axis_up_to(_round(length), stride, keys.device)[:length]
    return _mix(codes)


# Never forgotten: what a GPU recorded reads it where it was.
@functools.cache
def _axis_up_to(size: int, stride: int, device: torch.device) -> Tensor:
    """(size,) int32 codes of the places along an axis."""
    return torch.arange(size, dtype=torch.int32, device=device) * stride


@functools.cache
def _channel_codes_up_to(size: int, device: torch.device) -> Tensor:
    places = torch.arange(1, size + 1, dtype=torch.int32, device=device)
    return _odd(_mix(places * _CHANNEL_STRIDE))


def _mix(code: Tensor) -> Tensor:
    """Murmur3's finaliser; every bit depends on every bit of `code`.

    Its first two shifts bring ones in where a number is negative, which a logical shift would not:
    a code and its complement are given the same, and an operation is saved.
    """
    for shift, factor in zip(_SHIFTS, _MIX, strict=True):
        code = (code ^ (code >> shift)) * factor
    return code ^ ((code >> 16) & _LOWER_HALF)


def _odd(codes: Tensor) -> Tensor:
    """Codes whose products take every odd value equally often."""
    return codes | 1


def _round(size: int) -> int:
    """The power of two from `size` on."""
    return 1 << (size - 1).bit_length()


def _signed(number: int) -> int:
    """A number modulo 2^32, as a signed 32-bit one."""
    return (number + 2**31) % 2**32 - 2**31
