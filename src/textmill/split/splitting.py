"""Divide a corpus into a held-out test set and folds, by groups of similar pairs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from textmill.base.errors import UserError
from textmill.split.decontamination import REASONS, contaminated, near_sources
from textmill.split.folds import Assignable, characters, fold_rows, imbalance, strata, test_rows
from textmill.split.groups import ALL_CONTENT, Grouping, Kinds, group_pairs
from textmill.split.settings import SplitSettings
from textmill.tasks.settings import UNNAMED


class SplitCorpus(NamedTuple):
    """Result of the split. Every input pair is in exactly one of the three tables.

    development: with a column `folds`, the fold of the pair in each repeat. removed: with columns `reason` and `test_id`.
    In development and test, `group` is the number of the group.
    """

    development: pd.DataFrame
    test: pd.DataFrame
    removed: pd.DataFrame
    metrics: dict[str, Any]


class _Parts(NamedTuple):
    development: pd.DataFrame
    test: pd.DataFrame
    removed: pd.DataFrame
    grouping: Grouping


def split_corpus(pairs: pd.DataFrame, split: SplitSettings, seed: int, kinds: Kinds = ALL_CONTENT) -> SplitCorpus:
    """Divide pairs into development set, test set, and pairs removed because they overlap with the test set.

    The test set is the official one (`official_split`) if there is one, else it is drawn from all pairs. The result does not depend
    on the order of the rows.
    kinds: the kind of each task, by its name in the table. A task without one is taken for a translation.
    Raises UserError if there are fewer groups than parts, if pairs that must stay together are more than a fold, or if a task has no
    pair at all, in the test set or in the development set.
    """
    for task in sorted(set(kinds) - set(pairs["task"])):
        raise UserError(f"task {task}: none of its pairs passed the stage clean. data/clean/metrics.json says why. Correct its sources.")
    pairs = pairs.sort_values("id", kind="stable").reset_index(drop=True)
    is_official = (pairs["official_split"] == "test").to_numpy(dtype=bool)
    parts = _official(pairs, is_official, split, kinds) if is_official.any() else _cut(pairs, split, seed, kinds)
    assert len(parts.development) + len(parts.test) + len(parts.removed) == len(pairs), "a pair was lost"
    _require_tasks(pairs, parts, bool(is_official.any()))
    folds = _repeated_folds(parts, split, seed)
    return SplitCorpus(
        parts.development.assign(folds=folds.tolist()),
        parts.test,
        parts.removed,
        _metrics(parts, folds, split) | {"rows": len(pairs), "official_test": bool(is_official.any())},
    )


def _require_tasks(pairs: pd.DataFrame, parts: _Parts, is_official: bool) -> None:
    """Raise UserError if one of several tasks cannot be trained or tested."""
    for name, part in (("test", parts.test), ("development", parts.development)):
        for task in sorted(set(pairs["task"]) - set(part["task"]) - {UNNAMED}):
            remedy = "Mark one of its sources with official_split: test." if is_official and name == "test" else "Use more data."
            raise UserError(f"task {task}: has no pair in the {name} set. {remedy}")


def labels_of(development: pd.DataFrame, kinds: Kinds) -> dict[str, list[str]]:
    """Return the labels of every task whose targets are labels, sorted."""
    chosen = [task for task, kind in sorted(kinds.items()) if kind.target_is_label]
    return {task: sorted(set(development["target"][development["task"] == task])) for task in chosen}


def _official(pairs: pd.DataFrame, is_test: np.ndarray, split: SplitSettings, kinds: Kinds) -> _Parts:
    """Use the official test set, and remove training pairs that overlap with it."""
    training, test = _rows(pairs, ~is_test), _rows(pairs, is_test)
    if training.empty:
        raise UserError(
            f"all {len(pairs)} pairs are an official test set: no training pairs. Add a source with official_split: train, or see in"
            " data/clean/metrics.json why its pairs were rejected."
        )
    development, removed = _without(training, contaminated(training, test, split, kinds))
    if development.empty:
        raise UserError(
            f"of {len(pairs)} pairs, {len(test)} are an official test set, and the other {len(training)} all overlap with it:"
            " no training pairs remain. Add a source with official_split: train."
        )
    grouping = group_pairs(development, split, max(len(development) / split.num_folds, 1), kinds)
    test_groups = group_pairs(test, split, np.inf, kinds).numbers + grouping.numbers.max() + 1
    return _Parts(development.assign(group=grouping.numbers.astype(str)), test.assign(group=test_groups.astype(str)), removed, grouping)


def _cut(pairs: pd.DataFrame, split: SplitSettings, seed: int, kinds: Kinds) -> _Parts:
    """Draw a test set of whole groups. If a group had to be split, remove training pairs that are similar to the test set."""
    grouping = group_pairs(pairs, split, max((1 - split.test_share) * len(pairs) / split.num_folds, 1), kinds)
    is_test = test_rows(_assignable(pairs, grouping.numbers, grouping), split.test_share, f"{seed} test")
    training, apart = _rows(pairs, ~is_test), grouping.is_apart[~is_test]
    near = near_sources(training[apart], pairs[is_test & grouping.is_apart], split.similarity, kinds)
    development, removed = _without(training, near.assign(row=np.flatnonzero(apart)[near["row"]]))
    number_of = pd.Series(grouping.numbers.astype(str), index=pairs["id"])
    development, test = (table.assign(group=number_of[table["id"]].to_numpy()) for table in (development, _rows(pairs, is_test)))
    return _Parts(development, test, removed, grouping)


def _rows(pairs: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    return pairs[chosen].reset_index(drop=True)


def _without(training: pd.DataFrame, out: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = out["row"].to_numpy()
    removed = training.iloc[rows].reset_index(drop=True).assign(reason=out["reason"].to_numpy(), test_id=out["test_id"].to_numpy())
    return _rows(training, ~np.isin(np.arange(len(training)), rows)), removed


def _repeated_folds(parts: _Parts, split: SplitSettings, seed: int) -> np.ndarray:
    """Return the fold of every development pair in each of R repeats, (N, R) int64."""
    groups = parts.development["group"].to_numpy(dtype=np.int64)
    pairs = _assignable(parts.development, groups, parts.grouping)
    repeats = [fold_rows(pairs, split.num_folds, f"{seed} repeat {repeat}") for repeat in range(split.repeats)]
    partitions = {pd.factorize(fold)[0].tobytes() for fold in repeats}
    if len(partitions) < split.repeats:
        raise UserError(
            f"{len(np.unique(groups))} groups were assigned to {split.num_folds} folds in {len(partitions)} different ways,"
            f" fewer than split.repeats = {split.repeats}. Lower it."
        )
    return np.stack([fold + repeat * split.num_folds for repeat, fold in enumerate(repeats)], axis=1)


def _assignable(pairs: pd.DataFrame, groups: np.ndarray, grouping: Grouping) -> Assignable:
    return Assignable(groups, grouping.keys[groups], strata(pairs, grouping.metrics["label_tasks"]), characters(pairs))


def _metrics(parts: _Parts, folds: np.ndarray, split: SplitSettings) -> dict[str, Any]:
    development, test, removed, grouping = parts
    lengths, test_lengths = characters(development), characters(test)
    sizes = np.bincount(pd.concat([development["group"], test["group"]]).astype(np.int64))
    num_folds = split.num_folds * split.repeats
    each = folds.ravel()
    weights = np.repeat(lengths, split.repeats)
    return {
        "development": len(development),
        "test": len(test),
        "removed": {reason: int((removed["reason"] == reason).sum()) for reason in REASONS},
        "test_share": len(test) / (len(development) + len(test)),
        "test_share_of_characters": float(test_lengths.sum() / (lengths.sum() + test_lengths.sum())),
        "groups": int((sizes > 0).sum()),
        "largest_group": int(sizes.max()),
        "folds": np.bincount(each, minlength=num_folds).tolist(),
        "fold_characters": np.bincount(each, weights=weights, minlength=num_folds).astype(np.int64).tolist(),
        "imbalance": {"examples": imbalance(each, np.ones(len(each))), "characters": imbalance(each, weights)},
    } | grouping.metrics
