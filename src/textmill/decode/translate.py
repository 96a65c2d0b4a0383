"""Translate texts with any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textmill.decode.search import Engine, Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.protection import Protected, keeps_slots, restore
from textmill.tokenizer.tokenizer import Tokenizer


class Translation(NamedTuple):
    """An output with its score.

    text: the output.
    score: natural-log probability divided by length (end counted) to the power of the length penalty; 0 for an empty source.
    is_source_truncated: the source had more than `decode.max_tokens` tokens, and the model did not read the rest.
    is_output_truncated: the output has `decode.max_tokens` tokens, so it stopped at the limit (or ended exactly there).
    """

    text: str
    score: float
    is_source_truncated: bool
    is_output_truncated: bool


def translate(texts: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings) -> list[str]:
    """Return the best output per text, in order. If an output of the beam keeps the slots of its source, the best of those is taken."""
    return [translation.text for translation in translate_with_scores(texts, tokenizer, engine, decode)]


def translate_with_scores(texts: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings) -> list[Translation]:
    """Return what `translate` returns, with scores and whether source or output was truncated."""
    sources = [tokenizer.protect(text) for text in texts]
    encoded = tokenizer.encode_batch([source.text for source in sources])
    beams = engine.generate(encoded, decode, decode.beam_size)
    translations = []
    for source, ids, beam in zip(sources, encoded, beams, strict=True):
        text, hypothesis = _chosen(source, beam, tokenizer)
        translations.append(Translation(text, hypothesis.score, len(ids) > decode.max_tokens, not hypothesis.is_finished(decode)))
    return translations


def encode_sources(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Return the token ids that `translate` passes to the engine."""
    return tokenizer.encode_batch([tokenizer.protect(text).text for text in texts])


def _chosen(source: Protected, beam: Sequence[Hypothesis], tokenizer: Tokenizer) -> tuple[str, Hypothesis]:
    outputs = [tokenizer.decode(hypothesis.tokens) for hypothesis in beam]
    best = next((rank for rank, output in enumerate(outputs) if keeps_slots(source.text, output)), 0)
    return restore(outputs[best], source), beam[best]
