"""Group pairs that must stay together, because training on one of them would reveal the answer to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from textmill.base.errors import UserError
from textmill.similarity.near_duplicates import RECALL, Crowd, similar_batches
from textmill.split.settings import SplitSettings
from textmill.tasks.kind import TaskKind
from textmill.text.hashing import hashes64
from textmill.text.normalization import letters_only

Kinds = Mapping[str, TaskKind]  # by the name of the task in tables
ALL_CONTENT: Kinds = {}
_STEP = 0.1  # the similarity threshold rises by this much each time a group is too large
_MAX_LABEL_SHARE = 0.1
_MAX_LABEL_CHARACTERS = 60
_PENDING_EDGES = 1_000_000


@dataclass(frozen=True)
class Grouping:
    """Groups of N pairs.

    numbers: (N,) int64, the group of every pair, numbered from 0 in the order of the rows.
    keys: (G,) uint64, the smallest hash of the compared texts of each group. It identifies the group in any corpus.
    is_apart: (N,) bool, pairs whose group was too large and was split.
    metrics: how many pairs were grouped at which similarity, and related counts.
    """

    numbers: np.ndarray
    keys: np.ndarray
    is_apart: np.ndarray
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Edges:
    """E edges: between two similar texts, or between a text and a node for a value that it shares with other texts."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    is_target: np.ndarray

    def kept(self, least: float, with_targets: bool) -> np.ndarray:
        """Return which edges count, (E,) bool: those with similarity `least`, targets only if `with_targets`, user groups always."""
        return (self.similarity >= least) & (with_targets | ~self.is_target)


def compared_texts(pairs: pd.DataFrame, kinds: Kinds = ALL_CONTENT) -> list[str]:
    """Return the compared text of each pair: the letters of its source, or of its target if the source is empty or a mere prompt."""
    if "task" in pairs and not all(has_content(task, "source", kinds) for task in set(pairs["task"])):
        sources = pairs["source"].where(pairs["task"].map(lambda task: has_content(task, "source", kinds)), "")
    else:
        sources = pairs["source"]
    return [letters_only(source or target) for source, target in zip(sources, pairs["target"], strict=True)]


def has_content(task: str, side: Literal["source", "target"], kinds: Kinds) -> bool:
    """Return whether a side of a task is content; sides of a task without a kind are."""
    return task not in kinds or side in kinds[task].content


def label_tasks(pairs: pd.DataFrame, group_targets: str, kinds: Kinds = ALL_CONTENT) -> dict[str, bool]:
    """Return task to whether its targets are labels. Many pairs share a label, so labels do not join groups.

    group_targets: `always` (targets are never labels), `never` (targets are always labels), or `auto`. With `auto`, targets are
        labels if the kind says so, or if they are few (distinct ones are at most a tenth of the pairs) and short (median of at most
        60 characters).
    """
    found = {}
    for task, targets in pairs.groupby("task", sort=True)["target"]:
        distinct = targets.drop_duplicates()
        is_short = float(distinct.str.len().median()) <= _MAX_LABEL_CHARACTERS
        by_data = len(distinct) <= _MAX_LABEL_SHARE * len(targets) and is_short
        by_kind = str(task) in kinds and kinds[str(task)].target_is_label
        found[str(task)] = {"always": False, "never": True, "auto": by_kind or by_data}[group_targets]
    return found


def group_pairs(pairs: pd.DataFrame, split: SplitSettings, limit: float, kinds: Kinds = ALL_CONTENT) -> Grouping:
    """Group pairs into connected components. Two pairs are connected if any of these holds:

    - They have the same non-empty `group`.
    - Their sources are equal, or have at least the similarity `split.similarity`.
    - Their targets are equal, or one pair is the other with source and target interchanged. Not if targets are labels.

    A component with more than `limit` pairs is split by stricter rules, one after another: the similarity rises in steps of 0.1, then
    only equal sources count, then equal targets no longer count.
    Raises UserError if a component is still too large: pairs with the same group or source are never separated.
    """
    texts, names = pd.factorize(np.array(compared_texts(pairs, kinds), dtype=object))
    labels = label_tasks(pairs, split.group_targets, kinds)
    is_label = pairs["task"].map(labels).to_numpy(dtype=bool)
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
        "label_tasks": sorted(name for name, are_labels in labels.items() if are_labels),
        "rows_by_similarity": {name: int((steps == number).sum()) for number, (name, _, _) in enumerate(_steps(split.similarity)) if (steps == number).any()},
    })  # fmt: skip


def _steps(similarity: float) -> list[tuple[str, float, bool]]:
    """Return name, minimum similarity and whether targets count, for each step from the setting to the strictest."""
    stricter = np.arange(similarity, 0.95, _STEP).round(2).tolist()
    return [*((f"{each:.2f}", each, True) for each in stricter or [similarity]), ("equal", np.inf, True), ("equal_source", np.inf, False)]


def _near(texts: Sequence[str], similarity: float, crowd: Crowd) -> np.ndarray:
    """Return a maximum spanning forest of the similar texts, (3, E): first, second, similarity.

    At any higher similarity, its components are those of all similar pairs, but it has fewer edges than texts.
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
    """Return edges between texts and new nodes, one per value, (2, E).

    counts: which texts to connect. nodes: number of existing nodes.
    """
    numbers, _ = pd.factorize(values[counts])
    return np.stack([texts[counts], numbers + nodes])


def _small_components(
    texts: np.ndarray, edges: _Edges, nodes: int, steps: Sequence[tuple[str, float, bool]], limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return component and step of every node, after components that are too large were split step by step."""
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
        f"{largest} of {len(texts)} pairs share one source or one user group, more than fit into a fold ({limit:.0f})."
        " Use fewer folds (split.num_folds), a finer group column, or remove the repeated source."
    )
