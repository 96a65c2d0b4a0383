"""Text in, text out, over any engine."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.decoding.search import Engine
from textmill.settings.inference import DecodeSettings
from textmill.tokens.tokenizer import Tokenizer


def translate(texts: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings) -> list[str]:
    """The best output of every text, in order."""
    hypotheses = engine.translate(tokenizer.encode_batch(texts), decode)
    return [tokenizer.decode(best[0].tokens) for best in hypotheses]
