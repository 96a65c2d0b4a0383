"""Section split of params.yaml, and the parts that other stages need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class SplitSettings:
    """Held-out test set and folds. Groups of similar pairs are not divided between them (docs/splitting.md).

    folds: the folds for which a model is trained: 0, 1, ... in order. It is a list because DVC has one training stage per fold; run
        `make folds` after a change. Fold f is part f mod `num_folds` of repeat f // `num_folds`.
    num_folds: number of parts into which the development pairs are divided. If `folds` lists fewer, the other parts are only
        used for training: `folds: [0]` is a single hold-out.
    repeats: how many times the development pairs are divided, each time differently. There are `num_folds` times `repeats` folds.
    test_share: approximate share of all pairs in the test set. Ignored if a source has `official_split: test`.
    similarity: sources are in one group if the Jaccard similarity of their character n-grams is at least this. Case, digits and
        punctuation are ignored. 1 joins only equal sources.
    group_targets: whether pairs with equal targets are in one group. `auto` means always, except for tasks whose targets are labels.
    overlap_units: with an official test set, training pairs that share this many words in a row with it, on either side, are removed.
        A Han, kana or hangul character counts as a word.
    """

    folds: list[int] = field(default_factory=lambda: [0, 1, 2])
    num_folds: int = 3
    repeats: int = 1
    test_share: float = 0.12
    similarity: float = 0.5
    group_targets: Literal["auto", "always", "never"] = "auto"
    overlap_units: int = 13

    def __post_init__(self) -> None:
        require(len(self.folds) > 0 and self.folds == list(range(len(self.folds))), "folds: must be 0, 1, 2, ... in order.")
        require(self.num_folds >= 2, "num_folds: must be 2 or more.")
        require(self.repeats >= 1, "repeats: must be 1 or more.")
        total = self.num_folds * self.repeats
        require(
            len(self.folds) <= total,
            f"folds: lists {len(self.folds)} folds, but num_folds times repeats is {total}. Raise those, or shorten the list.",
        )
        require(0 < self.test_share < 1, "test_share: must be between 0 and 1.")
        require(0.3 <= self.similarity <= 1, "similarity: must be between 0.3 and 1. Below 0.3, unrelated texts count as similar.")
        require(self.overlap_units >= 2, "overlap_units: must be 2 or more.")


@dataclass(frozen=True)
class FoldsSettings:
    """The part of `split` that most later stages need.

    folds: see SplitSettings.
    """

    folds: list[int]


@dataclass(frozen=True)
class OverlapSettings:
    """The part of `split` that defines an overlap with the test set: see SplitSettings."""

    similarity: float
    overlap_units: int
