"""A batch that does not fit in memory ends the training with the budget that would."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from textmill.base.errors import UserError
from textmill.encode.batching import make_batch

if TYPE_CHECKING:
    from textmill.train.loop import Trainer

_SMALLEST_BUDGET = 64
# Of torch 2.13 on a CPU: its allocator; oneDNN, which computes in bfloat16 and names no reason; C++ itself.
_OUT_OF_MEMORY = ("can't allocate memory", "could not create a primitive", "could not execute a primitive", "bad_alloc")


@contextmanager
def naming_what_fits(trainer: Trainer) -> Iterator[None]:
    """Turn running out of memory in the body into a UserError that says which batch_tokens would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        # contextlib holds the error while this function goes on, and with it the failed step's frames and their activations.
        traceback.clear_frames(error.__traceback__)
    else:
        return
    budget = trainer.settings.batch_tokens
    trainer.graphs = None  # they hold memory
    if trainer.processes.parallel != "none":  # others wait for this one: nothing can be tried
        raise UserError(
            f"{trainer.description}: the share of a batch of batch_tokens: {budget} does not fit in memory. Halve batch_tokens and"
            " double accumulate, or use more processes; the last checkpoint is kept."
        )
    fitting = _largest_that_fits(trainer)
    hint = (
        f"{fitting} fits: use it with accumulate: {-(-budget // fitting)}"
        if fitting
        else "Nor did a smaller one in what memory was left: lower batch_tokens, or use a smaller model"
    )
    raise UserError(
        f"{trainer.description}: a batch of batch_tokens: {budget} does not fit in memory. {hint}; the last checkpoint is kept."
    )


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _largest_that_fits(trainer: Trainer) -> int | None:
    budget = trainer.settings.batch_tokens // 2
    while budget >= _SMALLEST_BUDGET:
        if _fits(trainer, budget + budget // 4):  # memory is cut into other pieces in another run
            return budget
        budget //= 2
    return None


def _fits(trainer: Trainer, budget: int) -> bool:
    """Try a step on twice the batch of this budget with the most tokens, padding counted, and a validation.

    The training is over, so its state may change: a step of the trainer itself knows of Adam's moments, copies and averages.
    """
    corpus = trainer.corpus
    trainer.settings = replace(trainer.settings, batch_tokens=budget)
    sources, targets = corpus.lengths()
    longest = np.maximum(sources, targets + 1)
    try:
        largest = max(trainer._batches(corpus, trainer.position.epoch), key=lambda rows: len(rows) * int(longest[rows].max()))
        trainer.model.train()
        trainer._step([make_batch(corpus, largest)] * 2)  # as with accumulate: the second meets the gradients of the first
        if trainer.validation_rows is not None:
            trainer.validation_loss()
    except (MemoryError, RuntimeError) as error:
        if _is_out_of_memory(error):
            return False
        raise
    finally:
        trainer.model.zero_grad(set_to_none=True)
        trainer.optimizer.adam.zero_grad(set_to_none=True)
    return True
