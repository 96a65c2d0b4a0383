"""Section model of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class ModelSettings:
    """The architecture and size of the model. docs/models.md compares the choices.

    architecture: `encoder_decoder` (Transformer, Vaswani et al. 2017), `decoder_only` (source and target in one causal sequence) or
        `lstm` (Luong et al. 2015). An LSTM cannot be pruned or exported; it uses only width, encoder_layers, decoder_layers,
        tied_embeddings, embeddings and dropout.
    width: model width, the size of the residual stream.
    heads: attention heads; must divide width.
    key_value_heads: heads for keys and values, each shared by heads / key_value_heads query heads (Ainslie et al. 2023).
        0 means as many as heads, which is standard multi-head attention; 1 means one for all (multi-query attention).
    feed_forward: inner width of the feed-forward layers.
    encoder_layers: number of encoder layers; not used by decoder_only.
    decoder_layers: number of decoder layers.
    norm: `layer_norm` (Ba et al. 2016) or `rms_norm` (Zhang & Sennrich 2019).
    norm_position: `pre`, x + sublayer(norm(x)) (Xiong et al. 2020), or `post`, norm(x + sublayer(x)) (Vaswani et al. 2017).
    positions: `sinusoidal`, `learned` (a table with max_positions rows) or `rotary` (Su et al. 2021).
    max_positions: number of rows of the table of learned positions, which is the longest text in tokens. For decoder_only, source and
        target count together. 0 if positions are not learned.
    activation: `relu`, `gelu` or `swiglu` (Shazeer 2020). SwiGLU has a third matrix, so 2/3 of the feed_forward width costs the same.
    tied_embeddings: share one matrix between source embedding, target embedding and output layer; false uses one matrix each.
    embeddings: initial embeddings, `random` or `word2vec` vectors of the training text (Mikolov et al. 2013).
    dropout: dropout after every sublayer, on the embeddings, and inside the feed-forward layers.
    attention_dropout: dropout on the attention weights. Above 0, torch has no fast attention kernel on a CPU.
    """

    architecture: Literal["encoder_decoder", "decoder_only", "lstm"] = "encoder_decoder"
    width: int = 160
    heads: int = 4
    key_value_heads: int = 0
    feed_forward: int = 640
    encoder_layers: int = 2
    decoder_layers: int = 2
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post"] = "pre"
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    max_positions: int = 0
    activation: Literal["relu", "gelu", "swiglu"] = "relu"
    tied_embeddings: bool = True
    embeddings: Literal["random", "word2vec"] = "random"
    dropout: float = 0.1
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "heads", "feed_forward", "encoder_layers", "decoder_layers"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.width % 2 == 0, "width: must be even (for sinusoidal positions and for a bidirectional LSTM).")
        require(self.width % self.heads == 0, f"heads: {self.heads} does not divide width {self.width}.")
        require(self.key_value_heads >= 0, "key_value_heads: must be 0 or more.")
        require(self.heads % self.shared_heads == 0, f"key_value_heads: {self.key_value_heads} does not divide heads {self.heads}.")
        head_width = self.width // self.heads
        require(self.positions != "rotary" or head_width % 2 == 0, f"positions: rotary needs an even width / heads, not {head_width}.")
        require(self.max_positions >= 0, "max_positions: must be 0 or more.")
        require(self.positions != "learned" or self.max_positions >= 1, "max_positions: must be 1 or more with learned positions.")
        for name in ("dropout", "attention_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name}: must be at least 0 and below 1.")

    @property
    def shared_heads(self) -> int:
        """Number of key-value heads, with 0 resolved to `heads`."""
        return self.key_value_heads or self.heads
