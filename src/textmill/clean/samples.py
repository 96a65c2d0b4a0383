"""Samples that do not depend on the order of the items: those with the smallest hashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class SmallestHashes(Generic[Item]):
    """Keeps the offered items with the `limit` smallest hashes, one item per hash."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: dict[int, Item] = {}
        self._bound = 1 << 64  # hashes from here on are already excluded

    def offer(self, hashes: np.ndarray, item_at: Callable[[int], Item]) -> None:
        """Offer N items.

        hashes: (N,) uint64; equal hashes mean equal items. item_at: index to item; called only for items that are kept.
        """
        for place, number in enumerate(hashes.tolist()):
            if number < self._bound and number not in self._items:
                self._items[number] = item_at(place)
        if len(self._items) >= 2 * self._limit or (len(self._items) > self._limit and self._limit < 100):
            self._shrink()

    def drawn(self) -> tuple[np.ndarray, list[Item]]:
        """Return the hashes of the sample, ascending, (at most limit,) uint64, and the items."""
        self._shrink()
        hashes = sorted(self._items)
        return np.array(hashes, dtype=np.uint64), [self._items[each] for each in hashes]

    def _shrink(self) -> None:
        smallest = sorted(self._items)[: self._limit]
        if len(smallest) == self._limit:
            self._bound = smallest[-1] + 1
        self._items = {each: self._items[each] for each in smallest}
