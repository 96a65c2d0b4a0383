"""Pairs that must stay together: what one of them teaches, another would answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from textmill.base.errors import UserError
from textmill.similarity.near_duplicates import RECALL, Crowd, similar_batches
from textmill.split.settings import SplitSettings
from textmill.text.hashing import hashes64
from textmill.text.normalization import letters_only

_STEP = 0.1  # how much more similar texts must be, each time that a group is too large
_MAX_LABEL_SHARE = 0.1
_MAX_LABEL_CHARACTERS = 60
_PENDING_EDGES = 1_000_000


@dataclass(frozen=True)
class Grouping:
    """numbers: (N,) int64, of every pair's group, from 0 in the order of the rows. keys: (G,) uint64, the least hash of the compared
    texts of each group: it says which group this is, whatever else is in the corpus. is_apart: (N,) bool, pairs whose group was
    too large and taken apart. metrics: what was grouped by what, for people."""

    numbers: np.ndarray
    keys: np.ndarray
    is_apart: np.ndarray
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Edges:
    """What ties E pairs of nodes together: two texts by their similarity, or a text and a node of what it has in common with others."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    is_target: np.ndarray

    def kept(self, least: float, with_targets: bool) -> np.ndarray:
        """(E,) bool: near texts only if `least` similar, targets only if asked for, users' groups always."""
        return (self.similarity >= least) & (with_targets | ~self.is_target)


def compared_texts(pairs: pd.DataFrame) -> list[str]:
    """What is compared of each pair: the letters of its source, or of its target if it has no source (generation)."""
    return [letters_only(source or target) for source, target in zip(pairs["source"], pairs["target"], strict=True)]


def label_tasks(pairs: pd.DataFrame, group_targets: str) -> dict[str, bool]:
    """Task to whether its targets are labels, which many pairs share and which tie nothing together.

    group_targets: `always` (no targets are labels), `never` (all are) or `auto`: labels are few (distinct ones at most a
    tenth of the pairs) and short (the median of the distinct ones at most 60 characters).
    """
    found = {}
    for task, targets in pairs.groupby("task", sort=True)["target"]:
        distinct = targets.drop_duplicates()
        is_short = float(distinct.str.len().median()) <= _MAX_LABEL_CHARACTERS
        by_data = len(distinct) <= _MAX_LABEL_SHARE * len(targets) and is_short
        found[str(task)] = {"always": False, "never": True, "auto": by_data}[group_targets]
    return found


def group_pairs(pairs: pd.DataFrame, split: SplitSettings, limit: float) -> Grouping:
    """Connected components over: an equal non-empty `group`, an equal source, an equal target or the same two sides the other way
    round unless targets are labels, and sources that are nearly equal (`split.similarity`).

    A component of more than `limit` pairs is taken apart: its sources count as nearly equal only if they are 0.1 more
    similar, and again, then only if equal, then equal targets stop to count. Raises UserError if it is still too large:
    pairs of one user's group or one source are never taken apart.
    """
    texts, names = pd.factorize(np.array(compared_texts(pairs), dtype=object))
    is_label = pairs["task"].map(label_tasks(pairs, split.group_targets)).to_numpy(dtype=bool)
    groups, targets = pairs["group"].to_numpy(dtype=object), pairs["target"].to_numpy(dtype=object)
    crowd = Crowd()
    near = _near(names.tolist(), split.similarity, crowd)
    by_group = _tied(texts, groups, groups != "", len(names))
    target_texts = np.array([letters_only(target) for target in targets], dtype=object)
    counts = ~is_label & (targets != "")
    by_target = _tied(texts, target_texts, counts, by_group.shape[1] + len(names))
    sides = ["\0".join(sorted(pair)) for pair in zip(names[texts], target_texts, strict=True)]
    by_sides = _tied(texts, np.array(sides, dtype=object), counts, by_target.shape[1] + by_group.shape[1] + len(names))
    first, second = np.concatenate([near[:2], by_group, by_target, by_sides], axis=1).astype(np.int64)
    others = by_target.shape[1] + by_sides.shape[1]
    edges = _Edges(
        first,
        second,
        np.concatenate([near[2], np.full(by_group.shape[1] + others, np.inf)]),
        np.repeat([False, False, True], [near.shape[1], by_group.shape[1], others]),
    )
    nodes = len(names) + by_group.shape[1] + others
    component, step = _small_components(texts, edges, nodes, _steps(split.similarity), limit)
    numbers = pd.factorize(component[texts])[0].astype(np.int64)
    keys = np.full(int(numbers.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(keys, numbers, hashes64(names)[texts])
    steps = step[texts]
    return Grouping(numbers, keys, steps > 0, {
        "similarity": split.similarity,
        "recall": RECALL,
        "crowded": crowd.size,
        "label_tasks": sorted(name for name, labels in label_tasks(pairs, split.group_targets).items() if labels),
        "rows_by_similarity": {name: int((steps == number).sum()) for number, (name, _, _) in enumerate(_steps(split.similarity)) if (steps == number).any()},
    })  # fmt: skip


def _steps(similarity: float) -> list[tuple[str, float, bool]]:
    """Name, least similarity and whether targets count, from the setting to the strictest."""
    stricter = np.arange(similarity, 0.95, _STEP).round(2).tolist()
    return [*((f"{each:.2f}", each, True) for each in stricter or [similarity]), ("equal", np.inf, True), ("equal_source", np.inf, False)]


def _near(texts: Sequence[str], similarity: float, crowd: Crowd) -> np.ndarray:
    """A maximum spanning forest of the nearly equal texts, (3, E): first, second, similarity.

    At any stricter similarity its components are those of all pairs, of which there can be many more than texts.
    """
    forest, waiting, size = np.empty((3, 0)), [np.empty((3, 0))], 0
    if similarity >= 1:
        return forest
    for batch in similar_batches(texts, similarity, crowd):
        waiting.append(np.stack(batch))
        size += len(batch[0])
        if size >= _PENDING_EDGES:
            forest, waiting, size = _forest(np.concatenate([forest, *waiting], axis=1), len(texts)), [], 0
    return _forest(np.concatenate([forest, *waiting], axis=1), len(texts))


def _forest(edges: np.ndarray, nodes: int) -> np.ndarray:
    _, once = np.unique(edges[0] * nodes + edges[1], return_index=True)
    first, second, similarity = edges[:, once]
    graph = coo_matrix((2 - similarity, (first.astype(np.int64), second.astype(np.int64))), shape=(nodes, nodes))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    return np.stack([tree.row, tree.col, 2 - tree.data])


def _tied(texts: np.ndarray, values: np.ndarray, counts: np.ndarray, nodes: int) -> np.ndarray:
    """Edges between texts and a node for each value, behind the `nodes` that there are: (2, E)."""
    numbers, _ = pd.factorize(values[counts])
    return np.stack([texts[counts], numbers + nodes])


def _small_components(
    texts: np.ndarray, edges: _Edges, nodes: int, steps: Sequence[tuple[str, float, bool]], limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Component and step of every node, after the too large ones are taken apart step by step."""
    component, step = np.zeros(nodes, dtype=np.int64), np.zeros(nodes, dtype=np.int64)
    open_nodes = np.ones(nodes, dtype=bool)
    for number, (_, least, with_targets) in enumerate(steps):
        kept = edges.kept(least, with_targets) & open_nodes[edges.first]
        graph = coo_matrix((np.ones(kept.sum(), dtype=np.int8), (edges.first[kept], edges.second[kept])), shape=(nodes, nodes))
        found = connected_components(graph, directed=False)[1] + component.max() + 1
        component[open_nodes], step[open_nodes] = found[open_nodes], number
        sizes = np.bincount(component[texts], minlength=component.max() + 1)
        open_nodes = sizes[component] > limit
        if not open_nodes.any():
            return component, step
    largest = int(sizes.max())
    raise UserError(
        f"{largest} of {len(texts)} pairs have one source or one group of the user's, more than a fold holds ({limit:.0f})."
        " Use fewer folds (split.num_folds), a finer group column, or remove the repeated source."
    )
