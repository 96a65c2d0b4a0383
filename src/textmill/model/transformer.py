"""Encoder-decoder Transformer (Vaswani et al. 2017) with one embedding for source, target and output (section 3.4).

Dimensions: B batch, S source length, T target length, D model width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from textmill.model.dropout import Dropout
from textmill.model.layers import AddNorm, Attention, Cache, FeedForward, sinusoids
from textmill.settings.model import ModelSettings
from textmill.tokens.special import PAD


@dataclass(frozen=True)
class Shape:
    """What a model's weights look like; differs from ModelSettings once heads and units are pruned away.

    encoder_feed_forward, decoder_feed_forward: inner width of every layer, so their lengths are the numbers of layers.
    """

    vocabulary_size: int
    width: int
    head_width: int
    encoder_heads: int
    decoder_heads: int
    encoder_feed_forward: tuple[int, ...]
    decoder_feed_forward: tuple[int, ...]
    norm_position: str
    activation: str
    dropout: float
    attention_dropout: float

    @classmethod
    def of(cls, settings: ModelSettings, vocabulary_size: int) -> Shape:
        """The unpruned shape."""
        return cls(
            vocabulary_size=vocabulary_size,
            width=settings.width,
            head_width=settings.width // settings.heads,
            encoder_heads=settings.heads,
            decoder_heads=settings.heads,
            encoder_feed_forward=(settings.feed_forward,) * settings.encoder_layers,
            decoder_feed_forward=(settings.feed_forward,) * settings.decoder_layers,
            norm_position=settings.norm_position,
            activation=settings.activation,
            dropout=settings.dropout,
            attention_dropout=settings.attention_dropout,
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Shape:
        """The inverse of dataclasses.asdict and JSON, which makes lists of tuples."""
        arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**arguments)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each in add & norm."""

    def __init__(self, shape: Shape, feed_forward: int) -> None:
        super().__init__()
        self.self_attention = Attention(shape.width, shape.encoder_heads, shape.head_width, shape.attention_dropout)
        self.feed_forward = FeedForward(shape.width, feed_forward, shape.activation, shape.dropout)
        self.self_attention_norm = AddNorm(shape.width, shape.norm_position, shape.dropout)
        self.feed_forward_norm = AddNorm(shape.width, shape.norm_position, shape.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (B, S, D). mask: (B, 1, 1, S), true on real tokens."""
        x = self.self_attention_norm(x, lambda y: self.self_attention(y, *self.self_attention.project(y), mask))
        out: Tensor = self.feed_forward_norm(x, self.feed_forward)
        return out


class DecoderLayer(nn.Module):
    """Causal self-attention, attention on the source, and feed-forward, each in add & norm."""

    def __init__(self, shape: Shape, feed_forward: int) -> None:
        super().__init__()
        self.self_attention = Attention(shape.width, shape.decoder_heads, shape.head_width, shape.attention_dropout)
        self.cross_attention = Attention(shape.width, shape.decoder_heads, shape.head_width, shape.attention_dropout)
        self.feed_forward = FeedForward(shape.width, feed_forward, shape.activation, shape.dropout)
        self.self_attention_norm = AddNorm(shape.width, shape.norm_position, shape.dropout)
        self.cross_attention_norm = AddNorm(shape.width, shape.norm_position, shape.dropout)
        self.feed_forward_norm = AddNorm(shape.width, shape.norm_position, shape.dropout)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], memory_mask: Tensor, cache: Cache | None) -> Tensor:
        """x: (B, T, D). memory: keys and values of the source, (B, H, S, K) each. memory_mask: (B, 1, 1, S).

        With a cache, x is the newest position alone (T = 1) and may look at all that the cache holds.
        """

        def attend_to_past(y: Tensor) -> Tensor:
            keys, values = self.self_attention.project(y)
            if cache is None:
                return self.self_attention(y, keys, values, None, is_causal=True)  # type: ignore[no-any-return]
            return self.self_attention(y, *cache.append(keys, values), None)  # type: ignore[no-any-return]

        x = self.self_attention_norm(x, attend_to_past)
        x = self.cross_attention_norm(x, lambda y: self.cross_attention(y, *memory, memory_mask))
        out: Tensor = self.feed_forward_norm(x, self.feed_forward)
        return out


class DecoderState:
    """What is kept between decoding steps: source keys and values and past keys and values, of every layer.

    memory: per layer, (B, H, S, K) twice. memory_mask: (B, 1, 1, S). step: number of positions decoded so far.
    """

    def __init__(self, memory: list[tuple[Tensor, Tensor]], memory_mask: Tensor) -> None:
        self.memory, self.memory_mask = memory, memory_mask
        self.caches = [Cache() for _ in memory]
        self.step = 0

    def select(self, rows: Tensor) -> None:
        """Keep `rows` of the batch, in that order (a row may be taken more than once)."""
        self.memory = [(keys[rows], values[rows]) for keys, values in self.memory]
        self.memory_mask = self.memory_mask[rows]
        self.select_past(rows)

    def select_past(self, rows: Tensor) -> None:
        """The same for what was decoded only: right when `rows` exchanges rows of one source."""
        for cache in self.caches:
            cache.select(rows)


class Transformer(nn.Module):
    """Source tokens and target tokens to logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.width, padding_idx=PAD)
        self.encoder = nn.ModuleList(EncoderLayer(shape, inner) for inner in shape.encoder_feed_forward)
        self.decoder = nn.ModuleList(DecoderLayer(shape, inner) for inner in shape.decoder_feed_forward)
        self.encoder_norm = nn.LayerNorm(shape.width) if shape.norm_position == "pre" else nn.Identity()
        self.decoder_norm = nn.LayerNorm(shape.width) if shape.norm_position == "pre" else nn.Identity()
        self.output_bias = nn.Parameter(self.embedding.weight.new_zeros(shape.vocabulary_size))
        self.dropout = Dropout(shape.dropout)
        self._initialize()

    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """source: (B, S). target_input: (B, T). Returns decoder states (B, T, D); `logits` makes scores of them."""
        state = self.encode(source)
        return self._decode(target_input, state, use_cache=False)

    def logits(self, states: Tensor) -> Tensor:
        """states: (..., D). Returns (..., V)."""
        return F.linear(states, *self.output_projection())

    def output_projection(self) -> tuple[Tensor, Tensor]:
        """Weight (V, D) and bias (V,) of what makes logits of states."""
        return self.embedding.weight, self.output_bias

    def encode(self, source: Tensor) -> DecoderState:
        """source: (B, S), padded with PAD. Returns a fresh state for decoding."""
        mask = (source != PAD)[:, None, None, :]  # (B, 1, 1, S)
        x = self._embed(source, 0)  # (B, S, D)
        for layer in self.encoder:
            x = layer(x, mask)
        x = self.encoder_norm(x)
        return DecoderState([layer.cross_attention.project(x) for layer in self.decoder], mask)  # type: ignore[operator, union-attr]

    def decode_step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """tokens: (B,), the newest token of every row. Returns logits (B, V) of the next, and moves `state` on."""
        return self.logits(self._decode(tokens[:, None], state, use_cache=True)[:, -1])

    def _decode(self, target: Tensor, state: DecoderState, use_cache: bool) -> Tensor:
        x = self._embed(target, state.step)  # (B, T, D)
        for layer, memory, cache in zip(self.decoder, state.memory, state.caches, strict=True):
            x = layer(x, memory, state.memory_mask, cache if use_cache else None)
        state.step += target.shape[1]
        out: Tensor = self.decoder_norm(x)
        return out

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        x = self.embedding(tokens) * math.sqrt(self.shape.width)
        out: Tensor = self.dropout(x + sinusoids(start, tokens.shape[1], self.shape.width, tokens.device).to(x.dtype))
        return out

    def _initialize(self) -> None:
        # Embeddings with variance 1/D, so that they have variance 1 once scaled and the tied output starts small
        # (section 3.4); Glorot & Bengio 2010 for the rest, key and value apart as if they were two matrices.
        nn.init.normal_(self.embedding.weight, std=self.shape.width**-0.5)
        nn.init.zeros_(self.embedding.weight[PAD])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Attention):
                for half in module.key_value.weight.chunk(2):
                    nn.init.xavier_uniform_(half)


def num_parameters(model: nn.Module) -> int:
    """Numbers that are trained, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())
