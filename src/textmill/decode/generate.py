"""From texts to output texts, with any engine and any decoding method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from textmill.base.errors import UserError
from textmill.decode.labels import label_log_probabilities
from textmill.decode.search import Engine, Hypothesis, Seeds
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.protection import Protected, keeps_slots, restore
from textmill.tokenizer.tokenizer import Tokenizer


class Output(NamedTuple):
    """An output with its score.

    text: the output.
    score: natural-log probability divided by length (end counted) to the power of the length penalty; 0 for an empty source.
        With the method labels: natural-log probability of the label among all labels.
    is_source_truncated: the source had more than `decode.source_limit` tokens, and the model did not read the rest.
    is_output_truncated: the output has `decode.max_tokens` tokens, so it stopped at the limit (or ended exactly there).
    """

    text: str
    score: float
    is_source_truncated: bool
    is_output_truncated: bool


def generate(
    texts: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings, labels: Sequence[str] = (), seed: Seeds = 0
) -> list[str]:
    """Return the best output per text, in order. If an output of the beam keeps the slots of its source, the best of those is taken.

    labels: the possible outputs, for the method labels. seed: for the method sampling.
    """
    return [outputs[0].text for outputs in generate_n_best(texts, tokenizer, engine, decode, labels, 1, seed)]


def generate_n_best(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    engine: Engine,
    decode: DecodeSettings,
    labels: Sequence[str] = (),
    number: int = 1,
    seed: Seeds = 0,
) -> list[list[Output]]:
    """Return up to `number` outputs per text with their scores: those that keep the slots of their source first, then by score.

    number: the beam is widened to it. seed: for the method sampling; one for all texts, or one per text.
    Raises UserError if the method is labels and there are none.
    """
    if decode.method == "labels":
        return _labelled(texts, labels, tokenizer, engine, decode, number)
    decode = replace(decode, beam_size=max(decode.beam_size, number))
    sources = [tokenizer.protect(text) for text in texts]
    encoded = tokenizer.encode_batch([source.text for source in sources])
    found = engine.generate(encoded, decode, decode.beam_size if decode.method == "beam" else number, seed)
    outputs = []
    for source, ids, hypotheses in zip(sources, encoded, found, strict=True):
        is_cut = len(ids) > decode.source_limit
        ranked = _ranked(source, hypotheses, tokenizer)[:number]
        outputs.append([Output(text, hypothesis.score, is_cut, not hypothesis.is_finished(decode)) for text, hypothesis in ranked])
    return outputs


def encode_sources(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Return the token ids that `generate` passes to the engine."""
    return tokenizer.encode_batch([tokenizer.protect(text).text for text in texts])


def _ranked(source: Protected, hypotheses: Sequence[Hypothesis], tokenizer: Tokenizer) -> list[tuple[str, Hypothesis]]:
    decoded = [(tokenizer.decode(hypothesis.tokens), hypothesis) for hypothesis in hypotheses]
    decoded.sort(key=lambda each: not keeps_slots(source.text, each[0]))  # stable: the order of the scores stays
    return [(restore(output, source), hypothesis) for output, hypothesis in decoded]


def _labelled(
    texts: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings, number: int
) -> list[list[Output]]:
    if not labels:
        raise UserError("there are no labels to choose from. Pass a list of labels.")
    cut = [len(ids) > decode.source_limit for ids in encode_sources(texts, tokenizer)]
    outputs = []
    for is_cut, scores in zip(cut, label_log_probabilities(texts, labels, tokenizer, engine, decode), strict=True):
        ranked = sorted(zip(labels, scores, strict=True), key=lambda each: -each[1])[:number]
        outputs.append([Output(label, score, is_cut, False) for label, score in ranked])
    return outputs
