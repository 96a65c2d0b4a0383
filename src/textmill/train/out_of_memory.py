"""On out-of-memory, end the training with an error that suggests a value of batch_tokens that fits."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from textmill.base.errors import UserError
from textmill.train.settings import TrainSettings

_SMALLEST_BUDGET = 64
# Messages of torch 2.13 on a CPU: its allocator, oneDNN in bfloat16 (which gives no reason), and C++.
_OUT_OF_MEMORY = ("can't allocate memory", "could not create a primitive", "could not execute a primitive", "bad_alloc")


@contextmanager
def suggest_batch_tokens(settings: TrainSettings, try_budget: Callable[[int], None]) -> Iterator[None]:
    """Turn an out-of-memory error in the body into a UserError that suggests a smaller batch_tokens.

    try_budget: takes one step with a given budget; it may run out of memory again.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        # contextlib keeps the error alive, and with it the stack frames of the failed step and their activations.
        traceback.clear_frames(error.__traceback__)
    else:
        return
    budget = settings.batch_tokens
    if settings.parallel != "none":  # the other processes wait for this one, so it cannot try smaller budgets
        raise UserError(
            f"the part of a batch that this process computes does not fit in memory (batch_tokens: {budget}). Halve"
            " batch_tokens and double accumulate, or use more processes; the last checkpoint is kept."
        )
    fitting = _largest_that_fits(budget // 2, try_budget)
    hint = (
        f"Set batch_tokens to {fitting}, which fits, and accumulate to {-(-budget // fitting)}"
        if fitting
        else "No smaller batch fitted either. Lower batch_tokens, or use a smaller model"
    )
    raise UserError(f"a batch does not fit in memory (batch_tokens: {budget}). {hint}; the last checkpoint is kept.")


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _largest_that_fits(budget: int, try_budget: Callable[[int], None]) -> int | None:
    while budget >= _SMALLEST_BUDGET:
        if _fits(budget + budget // 4, try_budget):  # a margin: memory is fragmented differently in every run
            return budget
        budget //= 2
    return None


def _fits(budget: int, try_budget: Callable[[int], None]) -> bool:
    try:
        try_budget(budget)
    except (MemoryError, RuntimeError) as error:
        if _is_out_of_memory(error):
            return False
        raise
    return True
