"""Section split of params.yaml, and the parts of it that other stages need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class SplitSettings:
    """A held-out test set and folds, over groups that are never taken apart (docs/splitting.md).

    folds: the folds that a model is trained for, 0, 1, ... in order; a list because DVC makes one training stage of
        each (`make folds` writes what dvc.yaml lists of them). Fold f is part f mod `num_folds` of repeat f // `num_folds`.
    num_folds: into how many parts the development pairs are divided. With fewer `folds`, the rest is only trained on:
        `folds: [0]` is a single hold-out.
    repeats: how many times they are divided anew, so that there are `num_folds` times `repeats` folds.
    test_share: share of all pairs in the test set, nearly; without meaning if sources have an `official_split: test`.
    similarity: sources are one group if the Jaccard similarity of their character n-grams is at least this (case, digits
        and punctuation left out); 1 joins equal ones only.
    group_targets: do equal targets join a group? `always`, `never`, or `auto`: unless they are labels, by task.
    overlap_units: with an official test set, a pair that shares this many words (or Han, kana or hangul characters) in a
        row with it, on either side, is removed from training.
    """

    folds: list[int]
    num_folds: int
    repeats: int
    test_share: float
    similarity: float
    group_targets: Literal["auto", "always", "never"]
    overlap_units: int

    def __post_init__(self) -> None:
        require(len(self.folds) > 0 and self.folds == list(range(len(self.folds))), "folds: must be 0, 1, 2, ... in order.")
        require(self.num_folds >= 2, "num_folds: must be 2 or more.")
        require(self.repeats >= 1, "repeats: must be 1 or more.")
        total = self.num_folds * self.repeats
        require(
            len(self.folds) <= total, f"folds: names {len(self.folds)}, but num_folds times repeats are {total}. Raise those or shorten it."
        )
        require(0 < self.test_share < 1, "test_share: must be between 0 and 1.")
        require(0.3 <= self.similarity <= 1, "similarity: must be between 0.3, below which anything resembles anything, and 1.")
        require(self.overlap_units >= 2, "overlap_units: must be 2 or more.")


@dataclass(frozen=True)
class FoldsSettings:
    """The part of `split` that later stages need. folds: the fold numbers."""

    folds: list[int]


@dataclass(frozen=True)
class OverlapSettings:
    """The part of `split` that says what knows the test set: see SplitSettings."""

    similarity: float
    overlap_units: int
