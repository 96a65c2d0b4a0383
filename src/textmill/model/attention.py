"""Multi-head attention (Vaswani et al. 2017, section 3.2) with grouped queries (Ainslie et al. 2023).

Dimensions: B batch, T query length, S key and value length, D model width, H query heads, G key-value heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textmill.model.positions import rotate


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool, dropout: float) -> Tensor:
    """Compute scaled dot-product attention, with the softmax in float32.

    queries: (B, H, T, K).
    keys, values: (B, G, S, K). G divides H; each key-value head serves H / G neighbouring query heads.
    mask: true where a query may attend to a key; broadcast to (B, H, T, S).
    Returns (B, H, T, K) in the dtype of the queries.
    """
    group = queries.shape[1] // keys.shape[1]
    if group > 1:
        keys, values = (x[:, :, None].expand(-1, -1, group, -1, -1).flatten(1, 2) for x in (keys, values))  # (B, H, S, K)
    dtype = queries.dtype
    if dtype == torch.bfloat16 and queries.device.type == "cpu":  # on a CPU, torch's bfloat16 kernel is slower than float32
        queries, keys, values = queries.float(), keys.float(), values.float()
    mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)
    return mixed.to(dtype)


class Cache:
    """The key-value cache of one attention module: keys and values of all steps so far, each (B, G, S, K)."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the newest keys and values. Returns all of them."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


class Attention(nn.Module):
    """Self-attention (`forward`) or cross-attention (`project_kv` once per source, then `cross_attend`).

    One matrix projects queries, keys and values, so self-attention needs one matrix product. Its rows are H query heads, then
    G key heads, then G value heads.
    The head width is a separate parameter: pruning removes heads but keeps the model width.
    """

    def __init__(self, width: int, num_heads: int, key_value_heads: int, head_width: int, dropout: float, is_rotary: bool) -> None:
        super().__init__()
        self.num_heads, self.key_value_heads, self.head_width = num_heads, key_value_heads, head_width
        self.dropout, self.is_rotary = dropout, is_rotary
        self.projection = nn.Linear(width, sum(self.qkv_sizes))
        self.output = nn.Linear(num_heads * head_width, width)
        # Glorot & Bengio 2010. Queries, keys and values are initialized separately, as if they were three matrices.
        for part in (*torch.split(self.projection.weight, self.qkv_sizes), self.output.weight):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(self.projection.bias)
        nn.init.zeros_(self.output.bias)

    @property
    def qkv_sizes(self) -> list[int]:
        """Number of rows of the projection for queries, keys and values."""
        return [heads * self.head_width for heads in (self.num_heads, self.key_value_heads, self.key_value_heads)]

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None, is_causal: bool, cache: Cache | None) -> Tensor:
        """Compute self-attention.

        x: (B, T, D). With a cache, the newest positions only; they may attend to the cached ones where the mask allows it.
        positions: (T,) or (B, T).
        mask: see `attend`.
        Returns (B, T, D).
        """
        queries, keys, values = (self._heads(part) for part in self.projection(x).split(self.qkv_sizes, dim=-1))
        if self.is_rotary:
            queries, keys = rotate(queries, positions), rotate(keys, positions)
        if cache is not None:
            keys, values = cache.append(keys, values)
        return self._mix(queries, keys, values, mask, is_causal)

    def project_kv(self, encoder_states: Tensor) -> tuple[Tensor, Tensor]:
        """Project encoder states (B, S, D) to keys and values, (B, G, S, K) each."""
        start = self.qkv_sizes[0]
        both = F.linear(encoder_states, self.projection.weight[start:], self.projection.bias[start:])
        keys, values = both.chunk(2, dim=-1)  # (B, S, GK) each
        return self._heads(keys), self._heads(values)

    def cross_attend(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Compute cross-attention from x (B, T, D) to keys and values from `project_kv`. mask: see `attend`. Returns (B, T, D)."""
        end = self.qkv_sizes[0]
        queries = self._heads(F.linear(x, self.projection.weight[:end], self.projection.bias[:end]))  # (B, H, T, K)
        return self._mix(queries, keys, values, mask, is_causal=False)

    def _mix(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        mixed = attend(queries, keys, values, mask, is_causal, self.dropout if self.training else 0.0)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))  # (B, T, HK) -> (B, T, D)
        return out

    def _heads(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        return x.view(rows, length, -1, self.head_width).transpose(1, 2)  # (B, T, HK) -> (B, H, T, K)
