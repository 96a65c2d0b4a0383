"""Statistics on how well a tokenizer fits the two sides of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textmill.tokenizer.tokenizer import Tokenizer


def tokenizer_metrics(tokenizer: Tokenizer, sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """Return the vocabulary size and, for each side, tokens per text, tokens per character and the share of byte tokens."""
    source_ids, target_ids = tokenizer.encode_pairs(sources, targets)
    return {
        "vocabulary_size": len(tokenizer.pieces),
        "source": _side_metrics(tokenizer, sources, source_ids),
        "target": _side_metrics(tokenizer, targets, target_ids),
    }


def _side_metrics(tokenizer: Tokenizer, texts: Sequence[str], encoded: Sequence[Sequence[int]]) -> dict[str, float | int]:
    """Return tokens per text and per character, and the share of byte tokens, which encode characters without a piece."""
    tokens = sum(map(len, encoded))
    characters = sum(map(len, texts))
    byte_ids = {index for index, piece in enumerate(tokenizer.pieces) if len(piece) == 6 and piece.startswith("<0x")}
    byte_tokens = sum(token in byte_ids for ids in encoded for token in ids)
    return {
        "texts": len(texts),
        "tokens_per_text": tokens / max(len(texts), 1),
        "tokens_per_character": tokens / max(characters, 1),
        "byte_share": byte_tokens / max(tokens, 1),
    }
