"""Translate texts with any engine."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.decode.search import Engine, Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.protection import Protected, keeps_slots, restore
from textmill.tokenizer.tokenizer import Tokenizer


def translate(texts: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings) -> list[str]:
    """Translate texts, in order. Of each beam, take the best output that has the same slots as its source, or else the best one."""
    sources = [tokenizer.protect(text) for text in texts]
    beams = engine.translate(tokenizer.encode_batch([source.text for source in sources]), decode, decode.beam_size)
    return [_chosen(source, beam, tokenizer) for source, beam in zip(sources, beams, strict=True)]


def encode_sources(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Return the token ids that `translate` passes to the engine."""
    return tokenizer.encode_batch([tokenizer.protect(text).text for text in texts])


def _chosen(source: Protected, beam: Sequence[Hypothesis], tokenizer: Tokenizer) -> str:
    outputs = [tokenizer.decode(hypothesis.tokens) for hypothesis in beam]
    best = next((output for output in outputs if keeps_slots(source.text, output)), outputs[0])
    return restore(best, source)
