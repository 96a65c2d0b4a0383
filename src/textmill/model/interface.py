"""The interface of every architecture, as used by training, decoding, pruning and export.

Dimensions: B batch, S source length, T target length, D model width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from textmill.model.embeddings import TokenEmbeddings
from textmill.model.shape import Shape


class DecodingState(Protocol):
    """The state between two decoding steps, such as the key-value caches."""

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order. A row may occur more than once."""
        ...

    def select_past(self, rows: Tensor) -> None:
        """Do the same, but leave the encoded source as it is: enough when each row is replaced by a row with the same source."""
        ...


class Seq2SeqModel(nn.Module, ABC):
    """A sequence-to-sequence model.

    shape: number and sizes of its weights.
    tokens: embeddings and output layer.
    """

    shape: Shape
    tokens: TokenEmbeddings

    @abstractmethod
    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """Compute the last hidden states (B, T, D), the input of `logits`.

        source: (B, S), padded with PAD.
        target_input: (B, T), begins with BEGIN.
        """

    @abstractmethod
    def encode(self, source: Tensor) -> Any:
        """Encode the source. source: (B, S), padded with PAD. Returns a new DecodingState."""

    @abstractmethod
    def decode_step(self, tokens: Tensor, state: Any) -> Tensor:
        """Compute the logits (B, V) of the next token and advance `state`. tokens: (B,), the newest token of every row."""

    def logits(self, states: Tensor) -> Tensor:
        """Project states (..., D) to logits (..., V)."""
        return self.tokens.logits(states)

    def output_projection(self) -> tuple[Tensor, Tensor]:
        """Return weight (V, D) and bias (V,) of `logits`."""
        return self.tokens.output_weight, self.tokens.output_bias


def num_parameters(model: nn.Module) -> int:
    """Count the trained parameters. Tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())
