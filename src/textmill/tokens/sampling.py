"""Subword regularization (Kudo 2018): the same text, cut otherwise in every epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from textmill.errors import UserError
from textmill.tokens.shards import EncodedCorpus, packed
from textmill.tokens.tokenizer import Tokenizer


def resampled(
    corpus: EncodedCorpus, rows: np.ndarray, tokenizer: Tokenizer, alpha: float, candidates: int, seed: int, epoch: int
) -> EncodedCorpus:
    """`corpus` with sources and targets of `rows` cut anew, each into one of its likeliest `candidates` cuts.

    A cut's chance is its probability to the power `alpha` (section 3.2 of the paper, sampling from the l best). A pure function of
    (seed, epoch, row): other rows change nothing. No text gets longer than the longest of the corpus.
    Raises UserError if the tokenizer is not a unigram model.
    """
    if not tokenizer.candidates("ab", 1):
        raise UserError("params.yaml: train.subword_sampling needs tokenizer.model_type unigram. Change it, or set subword_sampling to 0.")
    # Draw i of a generator does not depend on how many follow it; the third number keeps them apart from other draws.
    draws = np.random.default_rng([seed, epoch, 3]).random((len(corpus), 2))
    is_chosen = np.zeros(len(corpus), dtype=bool)
    is_chosen[rows] = True
    sides = []
    for side, (text, lengths) in enumerate(((corpus.source, corpus.source_lengths()), (corpus.target, corpus.target_lengths()))):
        limit = int(lengths.max())
        sides.append(
            packed(
                [
                    _sampled(tokenizer, text(row), alpha, candidates, float(draws[row, side]), limit) if is_chosen[row] else text(row)
                    for row in range(len(corpus))
                ]
            )
        )
    (source_tokens, source_offsets), (target_tokens, target_offsets) = sides
    return replace(
        corpus, source_tokens=source_tokens, source_offsets=source_offsets, target_tokens=target_tokens, target_offsets=target_offsets
    )


def _sampled(tokenizer: Tokenizer, ids: list[int], alpha: float, candidates: int, draw: float, limit: int) -> list[int]:
    cuts = [(cut, score) for cut, score in tokenizer.candidates(tokenizer.decode(ids), candidates) if len(cut) <= limit]
    if not cuts:
        return ids
    weights = np.exp(alpha * (np.array([score for _, score in cuts]) - cuts[0][1]))
    return cuts[int(np.searchsorted(weights.cumsum(), draw * weights.sum(), side="right").clip(max=len(cuts) - 1))][0]
