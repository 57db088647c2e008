"""Dropout with keyed masks: a hash decides which values are dropped, not a random generator.

Torch's dropout draws from a generator that all runs of a process share, so what a run drops depends
on what was drawn before it. Here a value is dropped or kept by a hash of (run seed, fold, epoch,
step, site, utterance, position, channel). A *site* is one `Dropout` of a model. So a run drops the
same values alone or in a pack, with any padding, in any batch order, after a resume and on any
device.

The hash is built in four steps, in 32-bit integers that wrap around:

1. `site_codes` hashes run seed, fold, epoch and step to a code for every site.
2. `site_keys` mixes each of them with the utterances: a key for every site and utterance.
3. `Codes.of` mixes a key with the positions: an odd code for every position of every utterance.
4. `scaled_mask` multiplies it by the odd code of the channel. A value is kept if its product is
   `least_code` of the dropout rate or above.

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
    """One training step's codes of the positions of every utterance, for every site."""

    def __init__(self, keys: Tensor) -> None:
        """`keys` are the (sites, B) int32 keys of `site_keys`."""
        self._keys = keys
        self._rows: Tensor | None = None

    def of(self, site: int, axes: Sequence[int]) -> Tensor:
        """(B, *axes) odd int32 codes of positions; `axes` are one or two sizes, or none.

        The code of a position does not depend on the sizes.
        """
        if len(axes) > 1:
            return _odd(_position_codes(self._keys[site], axes))
        [size] = axes or (1,)
        if self._rows is None or self._rows.shape[2] < size:
            # For all sites at once: one by one would take a dozen small operations each.
            self._rows = _odd(_position_codes(self._keys, (_round(size),)))
        rows = self._rows[site]
        return rows[:, :size] if axes else rows[:, 0]


class Dropout(nn.Module):
    """In training, sets values to zero with probability `p` and scales the others by 1 / (1 − p).

    `set_dropout_keys` must be called before every training step; else `RuntimeError`.
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
        """True if values are dropped: in training, at a rate above 0."""
        return self.training and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, …, C) → the same shape."""
        if not self.drops:
            return x
        return self.drop(x, self.positions(x))

    def positions(self, x: Tensor) -> Tensor:
        """(B, …) codes of the positions of (B, …, C) values in the current step."""
        if self.codes is None:
            raise RuntimeError("dropout in training needs set_dropout_keys before the step")
        return self.codes.of(self.site, x.shape[1:-1])

    def drop(self, x: Tensor, positions: Tensor) -> Tensor:
        """(B, …, C) values, some set to zero as the (B, …) codes of their positions say."""
        return x * scaled_mask(positions, x.shape[-1], self.p).to(x.dtype)


def scaled_mask(positions: Tensor, size: int, p: float) -> Tensor:
    """(…) odd codes of positions → (…, size) float32: 0 with probability p, else 1 / (1 − p).

    The code of a value is the product of the odd codes of its position and its channel, modulo
    2^32. That is one multiplication a value; a hash of each would take a dozen operations. Codes of
    any two or three positions and channels are independent as far as tests can tell.
    """
    codes = positions[..., None] * channel_codes(size, positions.device)
    # The float's bits, 0 or those of 1 / (1 − p), are computed as an integer: comparisons, and the
    # bools that they give, are slow on a CPU.
    least, bits = least_code(p), int(np.float32(1 / (1 - p)).view(np.int32))
    codes.clamp_(least - 1, least)
    nothing = torch.tensor(_signed((1 - least) * bits), dtype=torch.int32)
    return torch.add(nothing, codes, alpha=bits).view(torch.float32)


def least_code(p: float) -> int:
    """The least code, a signed 32-bit number, at which a value is kept at dropout rate `p`."""
    return min(max(round(p * 2**32), 1), 2**32 - 1) - 2**31


def channel_codes(size: int, device: torch.device) -> Tensor:
    """(size,) odd int32 codes of the channels. The code of a channel does not depend on `size`."""
    return _channel_codes_up_to(_round(size), device)[:size]


def set_dropout_keys(model: nn.Module, utterances: Tensor, *parts: int) -> None:
    """Give every dropout of `model` its keys for one training step.

    `parts` name the step: run seed, fold, epoch and number of the step. `utterances` are the (B,)
    int64 indices of the batch's utterances in the corpus.
    """
    places = sites(model)
    codes = torch.from_numpy(site_codes(len(places), *parts))
    give_keys(places, site_keys(codes.to(utterances.device, non_blocking=True), utterances))


def give_keys(places: Sequence[Dropout], keys: Tensor | None) -> None:
    """Give the sites of a model their (sites, B) keys of a step; None takes the keys away."""
    codes = None if keys is None else Codes(keys)
    for number, place in enumerate(places):
        place.codes, place.site = codes, number


def sites(model: nn.Module) -> list[Dropout]:
    """All `Dropout` modules of a model, in the order of its modules."""
    return [m for m in model.modules() if isinstance(m, Dropout)]


def site_codes(num_sites: int, *parts: int) -> np.ndarray:
    """(num_sites,) int32: a code for every site in the step that `parts` name."""
    codes = hashlib.shake_128(",".join(map(str, parts)).encode()).digest(4 * num_sites)
    return np.frombuffer(codes, "<i4").astype(np.int32)


def site_keys(codes: Tensor, utterances: Tensor) -> Tensor:
    """(…, sites) int32 codes and (…, B) int64 utterances → (…, sites, B) int32 keys."""
    ids = utterances.to(torch.int32) * _UTTERANCE_STRIDE
    return _mix(ids[..., None, :] ^ codes[..., None])


def _position_codes(keys: Tensor, axes: Sequence[int]) -> Tensor:
    """(…) keys → (…, *axes) int32 codes; the code of a position does not depend on the sizes."""
    codes = keys
    for length, stride in zip(axes, _POSITION_STRIDES[: len(axes)], strict=True):
        codes = codes[..., None] + _axis_up_to(_round(length), stride, keys.device)[:length]
    return _mix(codes)


# Kept for good: a recorded CUDA graph reads the tensor at its address.
@functools.cache
def _axis_up_to(size: int, stride: int, device: torch.device) -> Tensor:
    """(size,) int32 codes of the positions along one axis."""
    return torch.arange(size, dtype=torch.int32, device=device) * stride


@functools.cache
def _channel_codes_up_to(size: int, device: torch.device) -> Tensor:
    places = torch.arange(1, size + 1, dtype=torch.int32, device=device)
    return _odd(_mix(places * _CHANNEL_STRIDE))


def _mix(code: Tensor) -> Tensor:
    """Murmur3's finaliser: every bit of the result depends on every bit of `code`.

    The first two shifts are arithmetic where murmur3's are logical: they save an operation, and
    give a code and its complement the same result.
    """
    for shift, factor in zip(_SHIFTS, _MIX, strict=True):
        code = (code ^ (code >> shift)) * factor
    return code ^ ((code >> 16) & _LOWER_HALF)


def _odd(codes: Tensor) -> Tensor:
    """Codes made odd: products of odd codes take every odd value equally often."""
    return codes | 1


def _round(size: int) -> int:
    """The smallest power of two that is at least `size`."""
    return 1 << (size - 1).bit_length()


def _signed(number: int) -> int:
    """A number modulo 2^32, as a signed 32-bit number."""
    return (number + 2**31) % 2**32 - 2**31
