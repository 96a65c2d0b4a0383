"""Settings of the model room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class ModelSettings:
    """Shape of the encoder-decoder Transformer (Vaswani et al. 2017).

    width: of the residual stream. heads: of every attention; must divide width. feed_forward: inner width.
    norm_position: `pre` (Xiong et al. 2020: norm(x) goes into the sublayer) or `post` (the paper's LayerNorm(x + sublayer(x))).
    dropout: after every sublayer, on the embeddings, and inside the feed-forward.
    attention_dropout: on the attention weights; above 0, torch has no fast kernel for a CPU.
    """

    width: int
    heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    norm_position: Literal["pre", "post"]
    activation: Literal["relu", "gelu"]
    dropout: float
    attention_dropout: float

    def __post_init__(self) -> None:
        for name in ("width", "heads", "feed_forward", "encoder_layers", "decoder_layers"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.width % 2 == 0, "width: must be even (sinusoidal positions).")
        require(self.width % self.heads == 0, f"heads: {self.heads} does not divide width {self.width}.")
        for name in ("dropout", "attention_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name}: must be at least 0 and below 1.")
