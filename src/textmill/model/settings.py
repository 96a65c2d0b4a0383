"""Section model of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class ModelSettings:
    """The model that is trained; docs/models.md says what each choice is good for.

    architecture: `encoder_decoder` (Transformer, Vaswani et al. 2017), `decoder_only` (source and target in one causal sequence),
        or `lstm` (Luong et al. 2015), which can be neither pruned nor exported and takes of the following width, the numbers of layers,
        tied_embeddings, embeddings and dropout alone.
    width: of the residual stream. heads: of every attention; must divide width.
    key_value_heads: heads of keys and values, each shared by heads / key_value_heads queries (Ainslie et al. 2023); 0: as many as heads,
        which is plain attention; 1: all share one.
    feed_forward: inner width. encoder_layers: not of a decoder_only model. decoder_layers: its only ones.
    norm: `layer_norm` (Ba et al. 2016) or `rms_norm` (Zhang & Sennrich 2019).
    norm_position: `pre` (Xiong et al. 2020: norm(x) goes into the sublayer) or `post` (the paper's norm(x + sublayer(x))).
    positions: `sinusoidal`, `learned` (a table of max_positions rows) or `rotary` (Su et al. 2021).
    max_positions: longest text in tokens that a table of learned positions holds (of a decoder_only model, source and target together);
        0 where there is none.
    activation: `relu`, `gelu` or `swiglu` (Shazeer 2020; a third matrix, so 2/3 of the feed_forward costs the same).
    tied_embeddings: one matrix for source, target and output; false: one each.
    embeddings: what they start from: `random`, or `word2vec` vectors of the training text (Mikolov et al. 2013).
    dropout: after every sublayer, on the embeddings, and inside the feed-forward.
    attention_dropout: on the attention weights; above 0, torch has no fast kernel for a CPU.
    """

    architecture: Literal["encoder_decoder", "decoder_only", "lstm"]
    width: int
    heads: int
    key_value_heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    norm: Literal["layer_norm", "rms_norm"]
    norm_position: Literal["pre", "post"]
    positions: Literal["sinusoidal", "learned", "rotary"]
    max_positions: int
    activation: Literal["relu", "gelu", "swiglu"]
    tied_embeddings: bool
    embeddings: Literal["random", "word2vec"]
    dropout: float
    attention_dropout: float

    def __post_init__(self) -> None:
        for name in ("width", "heads", "feed_forward", "encoder_layers", "decoder_layers"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.width % 2 == 0, "width: must be even (sinusoidal positions; an LSTM that reads both ways).")
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
        """Heads of keys and values, counted."""
        return self.key_value_heads or self.heads
