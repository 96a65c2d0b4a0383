"""Subword regularization (Kudo 2018): sample a new segmentation of each text in every epoch."""

from __future__ import annotations

import os
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np

from textmill.base.errors import UserError
from textmill.base.lifetime import begin_worker
from textmill.encode.encoded_corpus import EncodedCorpus, packed
from textmill.tokenizer.tokenizer import Tokenizer


def resampled(
    corpus: EncodedCorpus, rows: np.ndarray, tokenizer: Tokenizer, alpha: float, candidates: int, seed: int, epoch: int
) -> EncodedCorpus:
    """Return `corpus` with a sampled segmentation for each source and target of `rows`.

    candidates: number of most likely segmentations to sample from. alpha: a segmentation is drawn in proportion to its probability
        to the power `alpha` (Kudo 2018, section 3.2, sampling from the l best).
    A pure function of (seed, epoch, row), independent of other rows. No text becomes longer than the longest of its side in the corpus.
    Raises UserError if the tokenizer is not a unigram model.
    """
    if not tokenizer.candidates("ab", 1):
        raise UserError("params.yaml: train.subword_sampling needs tokenizer.model_type unigram. Change it, or set subword_sampling to 0.")
    # Draw i of a generator does not depend on later draws. The 3 separates these draws from others.
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


class ResampledEpochs:
    """Calls `resampled` for one epoch after another, optionally ahead of time in worker processes.

    num_workers: number of processes that prepare the next epochs; 0: none. The result does not depend on it.
    """

    def __init__(
        self, corpus: EncodedCorpus, rows: np.ndarray, tokenizer: Tokenizer, alpha: float, candidates: int, seed: int, num_workers: int
    ) -> None:
        self._arguments = corpus, rows, tokenizer, alpha, candidates, seed
        self._num_workers, self._coming = num_workers, dict[int, Future[EncodedCorpus]]()
        self._pool: ProcessPoolExecutor | None = None

    def __getitem__(self, epoch: int) -> EncodedCorpus:
        """Return the corpus of `epoch`.

        Raises UserError as `resampled` does, or if a worker dies.
        """
        if self._num_workers == 0:
            return resampled(*self._arguments, epoch)
        if self._pool is None:
            # Spawn, not fork: a process that has used a GPU or threads cannot be forked safely.
            initial = (*self._arguments, os.getpid())
            self._pool = ProcessPoolExecutor(self._num_workers, get_context("spawn"), _begin_worker, initial)
        for coming in range(epoch, epoch + self._num_workers + 1):
            if coming not in self._coming:
                self._coming[coming] = self._pool.submit(_epoch_of_worker, coming)
        self._coming = {number: future for number, future in self._coming.items() if number >= epoch}
        try:
            return self._coming[epoch].result()
        except BrokenProcessPool:
            raise UserError("a worker process was killed, perhaps because memory ran out. Lower train.num_workers.") from None

    def close(self) -> None:
        """Shut down the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool, self._coming = None, {}


_worker_arguments: tuple[EncodedCorpus, np.ndarray, Tokenizer, float, int, int]


def _begin_worker(*initial: Any) -> None:
    global _worker_arguments
    *arguments, parent = initial
    begin_worker(parent)
    _worker_arguments = tuple(arguments)


def _epoch_of_worker(epoch: int) -> EncodedCorpus:
    return resampled(*_worker_arguments, epoch)


def _sampled(tokenizer: Tokenizer, ids: list[int], alpha: float, candidates: int, draw: float, limit: int) -> list[int]:
    segmentations = [
        (segmentation, score)
        for segmentation, score in tokenizer.candidates(tokenizer.decode(ids), candidates)
        if len(segmentation) <= limit
    ]
    if not segmentations:
        return ids
    weights = np.exp(alpha * (np.array([score for _, score in segmentations]) - segmentations[0][1]))
    return segmentations[int(np.searchsorted(weights.cumsum(), draw * weights.sum(), side="right").clip(max=len(segmentations) - 1))][0]
