"""Section tokenizer of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class TokenizerSettings:
    """One SentencePiece model for both sides.

    vocabulary_size: pieces, the 4 special ones, the 256 bytes of byte fallback and the 16 slots included.
    model_type: unigram (Kudo 2018) or bpe (Sennrich et al. 2016).
    character_coverage: share of the characters of the text that get a piece of their own; the rest are bytes.
    num_threads: fixed, because the trained model depends on it.
    protect_spans: placeholders, markup, addresses, identifiers and longer numbers become slots, which are copied
        (tokenizer/protection.py). Wrong where such spans are to be translated or answered, for example to classify by them.
    """

    vocabulary_size: int
    model_type: Literal["unigram", "bpe"]
    character_coverage: float
    num_threads: int
    protect_spans: bool

    def __post_init__(self) -> None:
        require(self.vocabulary_size > 276, "vocabulary_size: must be above 276 (4 special pieces, 256 bytes and 16 slots).")
        require(0.9 <= self.character_coverage <= 1, "character_coverage: must be between 0.9 and 1.")
        require(self.num_threads >= 1, "num_threads: must be 1 or more.")
