"""A batch that does not fit in memory ends the training with the budget that would."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from textmill.base.errors import UserError
from textmill.train.settings import TrainSettings

_SMALLEST_BUDGET = 64
# Of torch 2.13 on a CPU: its allocator; oneDNN, which computes in bfloat16 and names no reason; C++ itself.
_OUT_OF_MEMORY = ("can't allocate memory", "could not create a primitive", "could not execute a primitive", "bad_alloc")


@contextmanager
def suggest_batch_tokens(settings: TrainSettings, try_budget: Callable[[int], None]) -> Iterator[None]:
    """Turn running out of memory in the body into a UserError that says which batch_tokens would fit.

    try_budget: a step with a budget; it may run out of memory again.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        # contextlib holds the error while this function goes on, and with it the failed step's frames and their activations.
        traceback.clear_frames(error.__traceback__)
    else:
        return
    budget = settings.batch_tokens
    if settings.parallel != "none":  # others wait for this one: nothing can be tried
        raise UserError(
            f"the share of a batch of batch_tokens: {budget} does not fit in memory. Halve batch_tokens and"
            " double accumulate, or use more processes; the last checkpoint is kept."
        )
    fitting = _largest_that_fits(budget // 2, try_budget)
    hint = (
        f"{fitting} fits: use it with accumulate: {-(-budget // fitting)}"
        if fitting
        else "Nor did a smaller one in what memory was left: lower batch_tokens, or use a smaller model"
    )
    raise UserError(f"a batch of batch_tokens: {budget} does not fit in memory. {hint}; the last checkpoint is kept.")


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _largest_that_fits(budget: int, try_budget: Callable[[int], None]) -> int | None:
    while budget >= _SMALLEST_BUDGET:
        if _fits(budget + budget // 4, try_budget):  # memory is cut into other pieces in another run
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
