"""Encoder-decoder Transformer (Vaswani et al. 2017).

Dimensions: B batch, S source length, T target length, D model width, G key-value heads, K head width, V vocabulary.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from textmill.model.attention import Cache
from textmill.model.dropout import Dropout
from textmill.model.embeddings import TokenEmbeddings
from textmill.model.interface import Seq2SeqModel
from textmill.model.layers import AddNorm, FeedForward, decoder_attention, encoder_attention, make_final_norm
from textmill.model.positions import POSITIONS
from textmill.model.shape import Shape
from textmill.tokenizer.special import PAD


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each in an `AddNorm`."""

    def __init__(self, shape: Shape, feed_forward: int) -> None:
        super().__init__()
        self.self_attention = encoder_attention(shape)
        self.feed_forward = FeedForward(shape, feed_forward)
        self.self_attention_norm = AddNorm(shape)
        self.feed_forward_norm = AddNorm(shape)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Apply the layer. x: (B, S, D). positions: (S,). mask: (B, 1, 1, S), true for real tokens."""
        x = self.self_attention_norm(x, lambda y: self.self_attention(y, positions, mask, False, None))
        out: Tensor = self.feed_forward_norm(x, self.feed_forward)
        return out


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the source, and feed-forward, each in an `AddNorm`."""

    def __init__(self, shape: Shape, feed_forward: int) -> None:
        super().__init__()
        self.self_attention = decoder_attention(shape, is_cross=False)
        self.cross_attention = decoder_attention(shape, is_cross=True)
        self.feed_forward = FeedForward(shape, feed_forward)
        self.self_attention_norm = AddNorm(shape)
        self.cross_attention_norm = AddNorm(shape)
        self.feed_forward_norm = AddNorm(shape)

    def forward(
        self, x: Tensor, positions: Tensor, encoder_states: tuple[Tensor, Tensor], source_mask: Tensor, cache: Cache | None
    ) -> Tensor:
        """Apply the layer.

        x: (B, T, D). With a cache, only the newest position (T = 1); it may attend to everything in the cache.
        positions: (T,).
        encoder_states: keys and values of the source, (B, G, S, K) each.
        source_mask: (B, 1, 1, S), true for real tokens.
        """
        x = self.self_attention_norm(x, lambda y: self.self_attention(y, positions, None, cache is None, cache))
        x = self.cross_attention_norm(x, lambda y: self.cross_attention.cross_attend(y, *encoder_states, source_mask))
        out: Tensor = self.feed_forward_norm(x, self.feed_forward)
        return out


class EncoderDecoderState:
    """Keys and values of the source and of the decoded tokens, per layer; see DecodingState.

    encoder_states: per layer, keys and values of the source, (B, G, S, K) each.
    source_mask: (B, 1, 1, S), true for real tokens.
    step: number of positions decoded so far.
    """

    def __init__(self, encoder_states: list[tuple[Tensor, Tensor]], source_mask: Tensor) -> None:
        self.encoder_states, self.source_mask = encoder_states, source_mask
        self.caches = [Cache() for _ in encoder_states]
        self.step = 0

    def select(self, rows: Tensor) -> None:
        """See DecodingState."""
        self.encoder_states = [(keys[rows], values[rows]) for keys, values in self.encoder_states]
        self.source_mask = self.source_mask[rows]
        self.select_past(rows)

    def select_past(self, rows: Tensor) -> None:
        """See DecodingState."""
        for cache in self.caches:
            cache.select(rows)


class EncoderDecoder(Seq2SeqModel):
    """See Seq2SeqModel."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = TokenEmbeddings(shape.vocabulary_size, shape.width, shape.tied_embeddings, has_source=True)
        self.source_positions = POSITIONS[shape.positions](shape.width, shape.max_positions)
        self.target_positions = POSITIONS[shape.positions](shape.width, shape.max_positions)
        self.encoder = nn.ModuleList(EncoderLayer(shape, inner) for inner in shape.encoder_feed_forward)
        self.decoder = nn.ModuleList(DecoderLayer(shape, inner) for inner in shape.decoder_feed_forward)
        self.encoder_norm = make_final_norm(shape)
        self.decoder_norm = make_final_norm(shape)
        self.dropout = Dropout(shape.dropout)

    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """See Seq2SeqModel."""
        return self._decode(target_input, self.encode(source), use_cache=False)

    def encode(self, source: Tensor) -> EncoderDecoderState:
        """See Seq2SeqModel."""
        mask = (source != PAD)[:, None, None, :]  # (B, 1, 1, S)
        positions = torch.arange(source.shape[1], device=source.device)
        x = self.dropout(self.source_positions(self.tokens.embed_source(source), positions))  # (B, S, D)
        for layer in self.encoder:
            x = layer(x, positions, mask)
        x = self.encoder_norm(x)
        return EncoderDecoderState([cast(DecoderLayer, layer).cross_attention.project_kv(x) for layer in self.decoder], mask)

    def decode_step(self, tokens: Tensor, state: EncoderDecoderState) -> Tensor:
        """See Seq2SeqModel."""
        return self.logits(self._decode(tokens[:, None], state, use_cache=True)[:, -1])

    def _decode(self, target: Tensor, state: EncoderDecoderState, use_cache: bool) -> Tensor:
        positions = torch.arange(state.step, state.step + target.shape[1], device=target.device)
        x = self.dropout(self.target_positions(self.tokens.embed_target(target), positions))  # (B, T, D)
        for layer, encoder_states, cache in zip(self.decoder, state.encoder_states, state.caches, strict=True):
            x = layer(x, positions, encoder_states, state.source_mask, cache if use_cache else None)
        state.step += target.shape[1]
        out: Tensor = self.decoder_norm(x)
        return out
