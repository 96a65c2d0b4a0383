"""What every architecture offers to training, decoding, compression and export.

Dimensions: B batch, S source length, T target length, D model width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from textmill.model.embeddings import TokenEmbeddings
from textmill.model.shape import Shape


class DecodingState(Protocol):
    """What is kept between decoding steps."""

    def select(self, rows: Tensor) -> None:
        """Keep `rows` of the batch, in that order (a row may be taken more than once)."""
        ...

    def select_past(self, rows: Tensor) -> None:
        """The same for what was decoded only: right when `rows` exchanges rows of one source."""
        ...


class Seq2SeqModel(nn.Module, ABC):
    """Source tokens and target tokens to logits. shape: what its weights look like. tokens: its embeddings and output layer."""

    shape: Shape
    tokens: TokenEmbeddings

    @abstractmethod
    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """source: (B, S), padded with PAD. target_input: (B, T), begins with BEGIN. Returns states (B, T, D) for `logits`."""

    @abstractmethod
    def encode(self, source: Tensor) -> Any:
        """source: (B, S), padded with PAD. Returns a fresh DecodingState."""

    @abstractmethod
    def decode_step(self, tokens: Tensor, state: Any) -> Tensor:
        """tokens: (B,), the newest token of every row. Returns logits (B, V) of the next, and moves `state` on."""

    def logits(self, states: Tensor) -> Tensor:
        """states: (..., D). Returns (..., V)."""
        return self.tokens.logits(states)

    def output_projection(self) -> tuple[Tensor, Tensor]:
        """Weight (V, D) and bias (V,) of `logits`."""
        return self.tokens.output_weight, self.tokens.output_bias


def num_parameters(model: nn.Module) -> int:
    """Numbers that are trained, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())
