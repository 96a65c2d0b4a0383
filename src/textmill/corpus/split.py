"""A held-out test set and folds, over groups that are never taken apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from textmill.corpus.groups import group_numbers
from textmill.errors import UserError
from textmill.settings.corpus import SplitSettings


def split_corpus(pairs: pd.DataFrame, split: SplitSettings, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Divide pairs into development (with a column `fold`) and test.

    The answer depends on the set of rows and the seed, not on their order. In the results `group` is the number of the
    component that the pair belongs to, as text. Returns counts too: {"rows", "groups", "largest_group", "test", "folds",
    "similarity"}. Raises UserError if there are fewer groups than parts, or one is larger than a fold.
    """
    pairs = pairs.sort_values("id", kind="stable").reset_index(drop=True)
    groups = group_numbers(pairs, split.similarity)
    sizes = np.bincount(groups)
    parts = len(split.folds) + 1
    if len(sizes) < parts:
        raise UserError(
            f"split: {len(pairs)} pairs make {len(sizes)} groups of similar sources, too few for {len(split.folds)} folds and a test set."
            " Use more data, fewer split.folds, or a higher split.similarity."
        )
    if sizes.max() > len(pairs) / len(split.folds):
        raise UserError(
            f"split: {sizes.max()} of {len(pairs)} pairs are one group of similar sources, more than a fold holds."
            " Raise split.similarity, or look for a pattern that fills the corpus."
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    test_groups = _filling(order, sizes, split.test_share * len(pairs), keep=len(split.folds))
    is_test = np.isin(groups, test_groups)
    pairs = pairs.assign(group=groups.astype(str))
    development = pairs[~is_test].reset_index(drop=True)
    shuffled = np.argsort(order)[groups[~is_test]]  # GroupKFold deals out equal groups in the order of their numbers
    fold = np.zeros(len(development), dtype=np.int16)
    for number, (_, rows) in enumerate(GroupKFold(len(split.folds)).split(development, groups=shuffled)):
        fold[rows] = number
    development = development.assign(fold=fold)
    return (
        development,
        pairs[is_test].reset_index(drop=True),
        {
            "rows": len(pairs),
            "groups": len(sizes),
            "largest_group": int(sizes.max()),
            "test": int(is_test.sum()),
            "folds": np.bincount(fold, minlength=len(split.folds)).tolist(),
            "similarity": split.similarity,
        },
    )


def _filling(order: np.ndarray, sizes: np.ndarray, wanted: float, keep: int) -> list[int]:
    """Groups, in `order`, until they hold `wanted` rows; at least one, and at least `keep` groups are left over."""
    chosen: list[int] = []
    filled = 0
    for group in order[: len(order) - keep].tolist():
        if filled + sizes[group] <= wanted or not chosen:
            chosen.append(group)
            filled += int(sizes[group])
    return chosen
