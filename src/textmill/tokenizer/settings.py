"""Section tokenizer of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class TokenizerSettings:
    """One SentencePiece model for both sides.

    vocabulary_size: number of pieces, including 4 special pieces, the 256 bytes of byte fallback and 16 slots. `auto`: four times the
        square root of the number of characters, at least room for all characters of the text, at most 32,000.
    model_type: unigram (Kudo 2018) or bpe (Sennrich et al. 2016).
    character_coverage: share of the characters in the text that have a piece; the other characters are encoded as bytes.
    num_threads: number of training threads. The trained model depends on it, so it is fixed.
    protect_spans: replace placeholders, markup, URLs, identifiers and longer numbers by slots, which are copied
        (tokenizer/protection.py). Switch it off if the model must read or translate such spans, for example in classification.
    """

    vocabulary_size: int | Literal["auto"] = "auto"
    model_type: Literal["unigram", "bpe"] = "unigram"
    character_coverage: float = 0.9995
    num_threads: int = 2
    protect_spans: bool = True

    def __post_init__(self) -> None:
        require(
            self.vocabulary_size == "auto" or self.vocabulary_size > 276,
            "vocabulary_size: must be above 276 (4 special pieces, 256 bytes and 16 slots).",
        )
        require(0.9 <= self.character_coverage <= 1, "character_coverage: must be between 0.9 and 1.")
        require(self.num_threads >= 1, "num_threads: must be 1 or more.")
