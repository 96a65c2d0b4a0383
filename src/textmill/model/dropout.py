"""Dropout (Srivastava et al. 2014) with precomputed masks on a CPU, where drawing a number per element took an eighth of a step."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_POOL_SIZE = 1 << 23  # elements, 32 MB in float32
_LARGEST_SLICE = 1 << 22  # larger tensors take several slices, so that a slice always has millions of possible offsets


class Dropout(nn.Module):
    """In training mode, set elements to zero with `probability` and scale the others up.

    On a CPU the mask is a slice of a fixed pool of random numbers, at a random offset. The offset comes from torch's global
    generator, so a resumed training continues with the same masks. On a GPU, where random numbers are cheap, torch draws the mask.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout. x: any shape."""
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
