"""Classification: the model scores every label as an output, so the answer is always one of the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textmill.base.errors import UserError
from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.tokenizer import Tokenizer

_CHUNK_PAIRS = 100_000  # scored at a time: with 100 labels, the token ids of more texts would take gigabytes


def label_log_probabilities(
    texts: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings
) -> list[list[float]]:
    """Return the natural-log probability of every label for every text: their probabilities sum to 1 per text.

    The log probability of a label is the sum over its tokens, END included. A softmax over the labels follows, divided by
    decode.temperature (Guo et al. 2017). All labels of an empty text are equally probable.
    Raises UserError if two labels are equal.
    """
    if len(set(labels)) < len(labels):
        raise UserError("two labels are equal. Remove one.")
    size = max(1, _CHUNK_PAIRS // max(len(labels), 1))
    chunks = (texts[start : start + size] for start in range(0, len(texts), size))
    return [scores for chunk in chunks for scores in _of_chunk(chunk, labels, tokenizer, engine, decode)]


def _of_chunk(
    texts: Sequence[str], labels: Sequence[str], tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings
) -> list[list[float]]:
    pairs = [(text, label) for text in texts for label in labels]
    sources, targets = tokenizer.encode_pairs([text for text, _ in pairs], [label for _, label in pairs])
    read = [decode.read_part(source) for source in sources]
    rows = [row for row, source in enumerate(read) if source]
    totals = [0.0] * len(pairs)
    for row, scores in zip(rows, engine.score([read[row] for row in rows], [targets[row] for row in rows]), strict=True):
        totals[row] = math.fsum(scores)
    return [_log_softmax(totals[start : start + len(labels)], decode.temperature) for start in range(0, len(totals), len(labels))]


def _log_softmax(scores: Sequence[float], temperature: float) -> list[float]:
    scaled = [score / temperature for score in scores]
    highest = max(scaled)
    total = highest + math.log(math.fsum(math.exp(score - highest) for score in scaled))
    return [score - total for score in scaled]
