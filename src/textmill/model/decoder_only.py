"""Decoder-only Transformer (Liu et al. 2018, section 4.2.3; Radford et al. 2018): source, BEGIN and target in one causal sequence.

With rms_norm, swiglu and rotary positions, the layers are those of Llama (Touvron et al. 2023) plus biases.
The loss counts target tokens only.
Dimensions: B batch, S source length, T target length, D model width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textmill.model.attention import Cache
from textmill.model.dropout import Dropout
from textmill.model.embeddings import TokenEmbeddings
from textmill.model.interface import Seq2SeqModel
from textmill.model.layers import AddNorm, FeedForward, decoder_attention, make_final_norm
from textmill.model.positions import POSITIONS
from textmill.model.shape import Shape
from textmill.tokenizer.special import PAD


class CausalLayer(nn.Module):
    """Causal self-attention, then feed-forward, each in an `AddNorm`."""

    def __init__(self, shape: Shape, feed_forward: int) -> None:
        super().__init__()
        self.self_attention = decoder_attention(shape, is_cross=False)
        self.feed_forward = FeedForward(shape, feed_forward)
        self.self_attention_norm = AddNorm(shape)
        self.feed_forward_norm = AddNorm(shape)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, cache: Cache | None) -> Tensor:
        """Apply the layer. x: (B, T, D). positions: (B, T). mask: (B, 1, T, all positions), true where attention is allowed."""
        x = self.self_attention_norm(x, lambda y: self.self_attention(y, positions, mask, False, cache))
        out: Tensor = self.feed_forward_norm(x, self.feed_forward)
        return out


class DecoderOnlyState:
    """The key-value caches of all layers; see DecodingState.

    is_source: (B, S), false for the padding between a source and its target.
    step: number of target positions decoded so far.
    """

    def __init__(self, num_layers: int, is_source: Tensor) -> None:
        self.caches = [Cache() for _ in range(num_layers)]
        self.is_source = is_source
        self.step = 0

    def select(self, rows: Tensor) -> None:
        """See DecodingState."""
        self.is_source = self.is_source[rows]
        self.select_past(rows)

    def select_past(self, rows: Tensor) -> None:
        """See DecodingState."""
        for cache in self.caches:
            cache.select(rows)


class DecoderOnly(Seq2SeqModel):
    """See Seq2SeqModel. Target positions continue from the end of the row's own source, not from the padded length."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = TokenEmbeddings(shape.vocabulary_size, shape.width, shape.tied_embeddings, has_source=False)
        self.positions = POSITIONS[shape.positions](shape.width, shape.max_positions)
        self.decoder = nn.ModuleList(CausalLayer(shape, inner) for inner in shape.decoder_feed_forward)
        self.decoder_norm = make_final_norm(shape)
        self.dropout = Dropout(shape.dropout)

    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """See Seq2SeqModel."""
        is_source = source != PAD  # (B, S)
        tokens = torch.cat((source, target_input), dim=1)  # (B, S + T)
        target = torch.arange(target_input.shape[1], device=source.device)
        positions = torch.cat((_source_positions(source), is_source.sum(1, keepdim=True) + target), dim=1)  # (B, S + T)
        is_key = torch.cat((is_source, torch.ones_like(target_input, dtype=torch.bool)), dim=1)
        states = self._run(tokens, positions, _causal_mask(is_key), None)
        return states[:, source.shape[1] :]

    def encode(self, source: Tensor) -> DecoderOnlyState:
        """See Seq2SeqModel."""
        state = DecoderOnlyState(len(self.decoder), source != PAD)
        self._run(source, _source_positions(source), _causal_mask(state.is_source), state.caches)
        return state

    def decode_step(self, tokens: Tensor, state: DecoderOnlyState) -> Tensor:
        """See Seq2SeqModel."""
        positions = state.is_source.sum(1, keepdim=True) + state.step  # (B, 1)
        state.step += 1
        past = state.is_source.new_ones(len(tokens), state.step)
        mask = torch.cat((state.is_source, past), dim=1)[:, None, None, :]  # (B, 1, 1, S + step)
        return self.logits(self._run(tokens[:, None], positions, mask, state.caches)[:, -1])

    def _run(self, tokens: Tensor, positions: Tensor, mask: Tensor, caches: list[Cache] | None) -> Tensor:
        x = self.dropout(self.positions(self.tokens.embed_target(tokens), positions))  # (B, T, D)
        for index, layer in enumerate(self.decoder):
            x = layer(x, positions, mask, None if caches is None else caches[index])
        out: Tensor = self.decoder_norm(x)
        return out


def _source_positions(source: Tensor) -> Tensor:
    """Return source positions, (B, S). Padding repeats the last real position, so a learned table need not cover the padding."""
    lengths = (source != PAD).sum(1, keepdim=True)  # (B, 1)
    return torch.minimum(torch.arange(source.shape[1], device=source.device)[None], (lengths - 1).clamp_min(0))


def _causal_mask(is_key: Tensor) -> Tensor:
    """Return the attention mask, (B, 1, T, T). is_key: (B, T), false for padding.

    A token may attend to earlier real tokens and to itself. Without itself, a row of padding would have nothing to attend to.
    """
    length = is_key.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=is_key.device).tril()
    diagonal = torch.eye(length, dtype=torch.bool, device=is_key.device)
    return (causal & is_key[:, None, None, :]) | diagonal
