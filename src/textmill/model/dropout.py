"""Dropout (Srivastava et al. 2014) that costs a multiplication: drawing a mask an element took an eighth of a step on a CPU."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_POOL_SIZE = 1 << 23  # masks for 32 MB in float32; a slice of it serves for a mask
_LARGEST_SLICE = 1 << 22  # a larger tensor takes several slices, so that there are always millions of places to begin


class Dropout(nn.Module):
    """Zeroes elements with `probability` and scales the others up, in training mode.

    On a CPU the mask is a slice, at a random place, of one pool that is drawn once. The place comes from torch's global
    generator, so a resumed training goes on with the same masks; a GPU draws its own, which costs nothing there.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape. Returns the same shape."""
        if not self.training or self.probability == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.probability)
        return x * _mask(x.numel(), self.probability, x.dtype).view(x.shape)


def _mask(count: int, probability: float, dtype: torch.dtype) -> Tensor:
    pool = _pool(probability, dtype)
    if count <= _LARGEST_SLICE:
        start = int(torch.randint(_POOL_SIZE - count, ()))
        return pool[start : start + count]
    lengths = [min(_LARGEST_SLICE, count - start) for start in range(0, count, _LARGEST_SLICE)]
    return torch.cat([_mask(length, probability, dtype) for length in lengths])


@cache
def _pool(probability: float, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(_POOL_SIZE, generator=generator) >= probability
    return (kept / (1 - probability)).to(dtype)
