"""Cut a source that is longer than the model may read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


def cut_tokens(tokens: Sequence[int], limit: int, cut: Literal["end", "start"], kept: int = 0) -> list[int]:
    """Return at most `limit` tokens of a source.

    cut: which end is cut off. kept: number of tokens at the start that are never cut, such as those of the name of the task.
    """
    if len(tokens) <= limit or cut == "end":
        return list(tokens[:limit])
    head = min(kept, limit)
    return [*tokens[:head], *tokens[len(tokens) - (limit - head) :]]
