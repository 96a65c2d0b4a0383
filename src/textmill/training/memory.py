"""A batch that does not fit in memory ends the training with the budget that would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from textmill.errors import UserError
from textmill.tokens.batching import make_batch, token_budget_batches

if TYPE_CHECKING:
    from textmill.training.loop import Trainer

_SMALLEST_BUDGET = 64


@contextmanager
def naming_what_fits(trainer: Trainer) -> Iterator[None]:
    """Turn running out of memory in the body into a UserError that says which batch_tokens would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    else:
        return
    budget = trainer.settings.batch_tokens
    if trainer.processes.parallel != "none":  # others wait for this one: nothing can be tried
        raise UserError(
            f"{trainer.description}: the share of a batch of batch_tokens: {budget} does not fit in memory. Halve batch_tokens and"
            " double accumulate, or use more processes; the last checkpoint is kept."
        )
    # Behind the except clause the failed step's frames, and with them its activations, are gone.
    fitting = _largest_that_fits(trainer)
    hint = (
        f"{fitting} fits: use it with accumulate: {-(-budget // fitting)}"
        if fitting
        else "Nor does any smaller batch fit: use a smaller model"
    )
    raise UserError(
        f"{trainer.description}: a batch of batch_tokens: {budget} does not fit in memory. {hint}; the last checkpoint is kept."
    )


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _largest_that_fits(trainer: Trainer) -> int | None:
    budget = trainer.settings.batch_tokens // 2
    while budget >= _SMALLEST_BUDGET:
        if _fits(trainer, budget):
            return budget
        budget //= 2
    return None


def _fits(trainer: Trainer, budget: int) -> bool:
    """Try the batch of this budget with the most tokens, padding counted."""
    corpus = trainer.corpus
    lengths = corpus.source_lengths().numpy(), corpus.target_lengths().numpy()
    batches = token_budget_batches(*lengths, trainer.training_rows, budget, trainer.seed, 0)
    largest = max(batches, key=lambda rows: len(rows) * int(np.maximum(lengths[0][rows], lengths[1][rows]).max()))
    try:
        batch = make_batch(corpus, largest).to(trainer.device)
        trainer.objective(batch, 1.0).backward()
    except (MemoryError, RuntimeError) as error:
        if _is_out_of_memory(error):
            return False
        raise
    finally:
        trainer.model.zero_grad(set_to_none=True)
    return True
