"""LSTM encoder-decoder (Sutskever et al. 2014) with attention (Luong et al. 2015, "general" score, no input feeding).

Dimensions: B batch, S source length, T target length, D model width, L decoder layers, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from textmill.model.attention import attend
from textmill.model.dropout import Dropout
from textmill.model.embeddings import TokenEmbeddings
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.tokenizer.special import PAD


class LstmStack(nn.Module):
    """LSTM layers with dropout between them.

    The dropout of nn.LSTM is not used: on a GPU its random state cannot be saved in a checkpoint.
    """

    def __init__(self, width: int, hidden: int, num_layers: int, dropout: float, is_bidirectional: bool) -> None:
        super().__init__()
        inner = hidden * (1 + is_bidirectional)
        self.layers = nn.ModuleList(
            nn.LSTM(inner if index else width, hidden, batch_first=True, bidirectional=is_bidirectional) for index in range(num_layers)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor | PackedSequence, state: tuple[Tensor, Tensor] | None = None) -> tuple[Any, Tensor, Tensor]:
        """Run all layers.

        x: (B, T, width), or packed.
        state: hidden and cell state, (L, B, hidden) each. None means zeros.
        Returns the outputs in the form of x, then hidden and cell state after the last token: (L, B, hidden) each, (2L, B, hidden) if
        bidirectional.
        """
        hidden, cell = [], []
        for index, layer in enumerate(self.layers):
            if index and isinstance(x, PackedSequence):
                x = PackedSequence(self.dropout(x.data), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
            elif index:
                x = self.dropout(x)
            own = None if state is None else tuple(each[index : index + 1].contiguous() for each in state)
            x, (last_hidden, last_cell) = layer(x, own)
            hidden.append(last_hidden)
            cell.append(last_cell)
        return x, torch.cat(hidden), torch.cat(cell)


class LstmState:
    """See DecodingState. encoder_states: (B, S, D). mask: (B, S), true for real tokens. hidden, cell: (L, B, D)."""

    def __init__(self, encoder_states: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor) -> None:
        self.encoder_states, self.mask, self.hidden, self.cell = encoder_states, mask, hidden, cell

    def select(self, rows: Tensor) -> None:
        """See DecodingState."""
        self.encoder_states, self.mask = self.encoder_states[rows], self.mask[rows]
        self.select_past(rows)

    def select_past(self, rows: Tensor) -> None:
        """See DecodingState."""
        self.hidden, self.cell = self.hidden[:, rows], self.cell[:, rows]


class Lstm(Seq2SeqModel):
    """See Seq2SeqModel.

    The encoder is bidirectional, with half of the width per direction. Its final states initialize the decoder.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        layers = len(shape.encoder_feed_forward), len(shape.decoder_feed_forward)
        self.tokens = TokenEmbeddings(shape.vocabulary_size, shape.width, shape.tied_embeddings, has_source=True)
        width = shape.width
        self.encoder = LstmStack(width, width // 2, layers[0], shape.dropout, is_bidirectional=True)
        self.decoder = LstmStack(width, width, layers[1], shape.dropout, is_bidirectional=False)
        self.start = nn.Linear(width, layers[1] * width)
        self.query = nn.Linear(width, width, bias=False)
        self.combine = nn.Linear(2 * width, width)
        self.dropout = Dropout(shape.dropout)
        for name, parameter in self.named_parameters():
            if not name.startswith("tokens.") and parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)

    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """See Seq2SeqModel."""
        return self._decode(target_input, self.encode(source))

    def encode(self, source: Tensor) -> LstmState:
        """See Seq2SeqModel."""
        mask = source != PAD  # (B, S)
        x = self.dropout(self.tokens.embed_source(source))
        # Packed, so that the backward direction starts at the last real token and not at padding.
        packed = pack_padded_sequence(x, mask.sum(1).clamp_min(1).cpu(), batch_first=True, enforce_sorted=False)
        outputs, last, _ = self.encoder(packed)
        encoder_states, _ = pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])  # (B, S, D)
        both = torch.cat((last[-2], last[-1]), dim=-1)  # (B, D): the top layer, forward and backward
        hidden = torch.tanh(self.start(both)).view(len(source), -1, self.shape.width).transpose(0, 1).contiguous()  # (L, B, D)
        return LstmState(encoder_states, mask, hidden, torch.zeros_like(hidden))

    def decode_step(self, tokens: Tensor, state: LstmState) -> Tensor:
        """See Seq2SeqModel."""
        return self.logits(self._decode(tokens[:, None], state)[:, -1])

    def _decode(self, target: Tensor, state: LstmState) -> Tensor:
        x = self.dropout(self.tokens.embed_target(target))  # (B, T, D)
        hidden, state.hidden, state.cell = self.decoder(x, (state.hidden, state.cell))
        encoder_states = state.encoder_states[:, None]  # (B, 1, S, D)
        queries = self.query(hidden)[:, None]  # (B, 1, T, D)
        context = attend(queries, encoder_states, encoder_states, state.mask[:, None, None, :], is_causal=False, dropout=0.0)[
            :, 0
        ]  # (B, T, D)
        out: Tensor = self.dropout(torch.tanh(self.combine(torch.cat((context, hidden), dim=-1))))
        return out
