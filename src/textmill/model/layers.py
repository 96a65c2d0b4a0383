"""Building blocks of the Transformer (Vaswani et al. 2017).

Dimensions: B batch, T length of the queries, S length of keys and values, D model width, H heads, K width of a head,
F feed-forward width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textmill.model.dropout import Dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class Cache:
    """Keys and values of one attention, each (B, H, S, K), kept between decoding steps."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add one step's keys and values and return all of them."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def select(self, rows: Tensor) -> None:
        """Keep `rows` of the batch, in that order."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class Attention(nn.Module):
    """Multi-head attention, section 3.2.2, over torch's scaled_dot_product_attention.

    The width of a head is a parameter of its own: pruning takes heads away and leaves the model width as it is.
    """

    def __init__(self, width: int, num_heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.head_width, self.dropout = num_heads, head_width, dropout
        inner = num_heads * head_width
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.output = nn.Linear(inner, width)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of `memory` (B, S, D), each (B, H, S, K)."""
        keys, values = self.key_value(memory).chunk(2, dim=-1)  # (B, S, HK) each
        return self._heads(keys), self._heads(values)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool = False) -> Tensor:
        """x: (B, T, D). keys, values: (B, H, S, K). mask: true where a query may look, broadcast to (B, H, T, S)."""
        queries = self._heads(self.query(x))  # (B, H, T, K)
        dropout = self.dropout if self.training else 0.0
        if x.dtype == torch.bfloat16 and x.device.type == "cpu":  # the backward pass of torch's kernel is 7 times slower there
            queries, keys, values = queries.float(), keys.float(), values.float()
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=is_causal).to(x.dtype)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))  # (B, T, HK) -> (B, T, D)
        return out

    def _heads(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        return x.view(rows, length, self.num_heads, self.head_width).transpose(1, 2)  # (B, T, HK) -> (B, H, T, K)


class FeedForward(nn.Module):
    """Position-wise feed-forward network, section 3.3."""

    def __init__(self, width: int, inner: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D) -> (B, T, D)."""
        out: Tensor = self.down(self.dropout(self.activation(self.up(x))))
        return out


class AddNorm(nn.Module):
    """Residual connection and layer normalization round a sublayer.

    `post`: LayerNorm(x + sublayer(x)), the paper's section 3.1. `pre`: x + sublayer(LayerNorm(x)), Xiong et al. 2020,
    which trains without a long warm-up.
    """

    def __init__(self, width: int, norm_position: str, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.is_pre = norm_position == "pre"
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """x: (B, T, D) -> (B, T, D)."""
        if self.is_pre:
            y: Tensor = self.dropout(sublayer(self.norm(x)))
            return x + y
        out: Tensor = self.norm(x + self.dropout(sublayer(x)))
        return out


def sinusoids(start: int, length: int, width: int, device: torch.device) -> Tensor:
    """Position encodings (length, D) for positions start, start + 1, ..., in the layout of Tensor2Tensor.

    Section 3.5's wavelengths, but sines in the first half and cosines in the second, positions counted from 1 and
    D/2 - 1 in the exponent: what CTranslate2 computes by itself, so that no table limits the length of a text.
    """
    half = width // 2
    scale = math.log(10000.0) / max(half - 1, 1)
    rates = torch.exp(torch.arange(half, dtype=torch.float32, device=device) * -scale)
    positions = torch.arange(start + 1, start + 1 + length, dtype=torch.float32, device=device)
    angles = positions[:, None] * rates[None, :]  # (length, D/2)
    return torch.cat((angles.sin(), angles.cos()), dim=1)
