"""Number and sizes of a model's weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from textmill.model.settings import ModelSettings

_LARGEST = 1 << 24
_SIZES = {"vocabulary_size", "width", "head_width", "encoder_heads", "decoder_heads", "encoder_key_value_heads", "decoder_key_value_heads"}


@dataclass(frozen=True)
class Shape:
    """The shape of a model. It differs from ModelSettings after heads and feed-forward units are pruned.

    encoder_feed_forward, decoder_feed_forward: inner width per layer. Their lengths are the numbers of layers: a decoder-only
    model has no encoder layers, and an LSTM uses only the lengths.
    encoder_key_value_heads, decoder_key_value_heads: heads for keys and values, each shared by a group of query heads.
    max_positions: rows of the table of learned positions, 0 without one.
    The other fields are those of ModelSettings.
    """

    architecture: str
    vocabulary_size: int
    width: int
    head_width: int
    encoder_heads: int
    decoder_heads: int
    encoder_key_value_heads: int
    decoder_key_value_heads: int
    encoder_feed_forward: tuple[int, ...]
    decoder_feed_forward: tuple[int, ...]
    norm: str
    norm_position: str
    positions: str
    max_positions: int
    activation: str
    tied_embeddings: bool
    dropout: float
    attention_dropout: float

    @classmethod
    def of(cls, settings: ModelSettings, vocabulary_size: int) -> Shape:
        """Return the unpruned shape."""
        encoder_layers = 0 if settings.architecture == "decoder_only" else settings.encoder_layers
        return cls(
            architecture=settings.architecture,
            vocabulary_size=vocabulary_size,
            width=settings.width,
            head_width=settings.width // settings.heads,
            encoder_heads=settings.heads,
            decoder_heads=settings.heads,
            encoder_key_value_heads=settings.shared_heads,
            decoder_key_value_heads=settings.shared_heads,
            encoder_feed_forward=(settings.feed_forward,) * encoder_layers,
            decoder_feed_forward=(settings.feed_forward,) * settings.decoder_layers,
            norm=settings.norm,
            norm_position=settings.norm_position,
            positions=settings.positions,
            max_positions=settings.max_positions if settings.positions == "learned" else 0,
            activation=settings.activation,
            tied_embeddings=settings.tied_embeddings,
            dropout=settings.dropout,
            attention_dropout=settings.attention_dropout,
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Shape:
        """Invert dataclasses.asdict and JSON, which turns tuples into lists. Raises ValueError if a value is not possible."""
        arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        shape = cls(**arguments)
        for name in ("dropout", "attention_dropout"):
            share = getattr(shape, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:  # rejects NaN, which JSON may contain
                raise ValueError(f"{name} is {share!r}")
        sizes = [value for name, value in asdict(shape).items() if name in _SIZES or isinstance(value, tuple)]
        numbers = [number for size in sizes for number in (size if isinstance(size, tuple) else (size,))]
        if any(type(number) is not int or not 0 <= number <= _LARGEST for number in numbers):
            raise ValueError(f"the sizes are {numbers}")
        return shape
