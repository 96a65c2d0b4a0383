"""Position encodings: sinusoidal, learned and rotary.

Dimensions: B batch, T length, D model width, H heads, K head width. `positions` are integers from 0, (T,) or (B, T).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from textmill.base.errors import UserError


class Sinusoidal(nn.Module):
    """Position encodings of Vaswani et al. 2017, section 3.5, in the layout of Tensor2Tensor.

    Sines in the first half, cosines in the second, positions counted from 1, and D/2 - 1 in the exponent. CTranslate2 computes
    the same encodings, so the exported model needs no table that would limit the length of a text.
    """

    def __init__(self, width: int, max_positions: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add the encodings of `positions` to x (B, T, D)."""
        half = self.width // 2
        scale = math.log(10000.0) / max(half - 1, 1)
        rates = torch.exp(torch.arange(half, dtype=torch.float32, device=x.device) * -scale)
        angles = (positions + 1).float()[..., None] * rates  # (..., T, D/2)
        return x + torch.cat((angles.sin(), angles.cos()), dim=-1).to(x.dtype)


class Learned(nn.Module):
    """One trained vector per position, up to `max_positions` (Gehring et al. 2017)."""

    def __init__(self, width: int, max_positions: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_positions, width))
        nn.init.normal_(self.table, std=width**-0.5)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add the vectors of `positions` to x (B, T, D).

        On a CPU, raises UserError for a position beyond the table. On a GPU the check would force a synchronization; the stage
        preflight has checked the lengths.
        """
        known = len(self.table)
        if positions.device.type == "cpu" and int(positions.max()) >= known:
            raise UserError(
                f"params.yaml: model.max_positions is {known}, but a text needs {int(positions.max()) + 1} positions."
                " Raise it, lower encode.max_tokens and decode.max_tokens, or choose another value of model.positions."
            )
        return x + self.table[positions]


class Rotary(nn.Module):
    """Add nothing to the embeddings: `rotate` rotates the queries and keys of self-attention instead."""

    def __init__(self, width: int, max_positions: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return x unchanged."""
        return x


POSITIONS: dict[str, type[nn.Module]] = {"sinusoidal": Sinusoidal, "learned": Learned, "rotary": Rotary}


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Apply rotary position embeddings to queries or keys (Su et al. 2021). Dimension i of a head is paired with dimension i + K/2.

    x: (B, H, T, K). Computed in float32, returned in x.dtype.
    """
    half = x.shape[-1] // 2
    rates = 10000.0 ** -(torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angles = positions.float()[..., None] * rates  # (T, K/2) or (B, T, K/2)
    if angles.dim() == 3:
        angles = angles[:, None]  # (B, 1, T, K/2)
    cosines, sines = angles.cos(), angles.sin()
    first, second = x.float().chunk(2, dim=-1)  # (B, H, T, K/2) each
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1).to(x.dtype)
