"""Samples that do not depend on the order of what they are drawn from: the items with the smallest hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class SmallestHashes(Generic[Item]):
    """Of all items that were offered, one for each hash, those with the `limit` smallest hashes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: dict[int, Item] = {}
        self._bound = 1 << 64  # what is above is out already

    def offer(self, hashes: np.ndarray, items: Sequence[Item]) -> None:
        """hashes: (N,) uint64 of N items; equal hashes mean equal items."""
        for number, item in zip(hashes.tolist(), items, strict=True):
            if number < self._bound:
                self._items.setdefault(number, item)
        if len(self._items) >= 2 * self._limit:
            self._shrink()

    def drawn(self) -> tuple[np.ndarray, list[Item]]:
        """Hashes in ascending order, (at most limit,) uint64, and their items."""
        self._shrink()
        hashes = sorted(self._items)
        return np.array(hashes, dtype=np.uint64), [self._items[each] for each in hashes]

    def _shrink(self) -> None:
        smallest = sorted(self._items)[: self._limit]
        if len(smallest) == self._limit:
            self._bound = smallest[-1] + 1
        self._items = {each: self._items[each] for each in smallest}
