"""Encode the development pairs as token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from textmill.base.errors import UserError
from textmill.encode.encoded_corpus import NO_FOLD, EncodedCorpus, encoded_corpus
from textmill.encode.settings import EncodeSettings
from textmill.tasks.cutting import cut_tokens
from textmill.tasks.kind import TaskKind
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer

_ANNOUNCED = 0.01  # share of the pairs of a task from which on it is announced that they are cut or left out


def with_back_translated(development: pd.DataFrame, back_translated: pd.DataFrame) -> pd.DataFrame:
    """Return the development pairs followed by the back-translated ones. Both tables have the same columns."""
    return pd.concat([development, back_translated], ignore_index=True)


def encode_corpus(
    pairs: pd.DataFrame, tokenizer: Tokenizer, settings: EncodeSettings, kinds: Mapping[str, TaskKind] = MappingProxyType({})
) -> tuple[EncodedCorpus, dict[str, Any]]:
    """Encode every pair (columns source, target, task, weight, folds) in order, with the task before its source.

    Pairs with more than `max_tokens` in the target are left out and counted. A source with more than `source_limit` tokens is cut, or
    the pair is left out, as the kind of the task says. kinds: by the name of the task in tables; without one, as for a translation.
    Returns the corpus and {"pairs", "back_translated", "too_long", "cut", "source_tokens", "target_tokens"}; with several tasks, also
    "tasks": {name: {"pairs", "too_long", "cut"}}.
    Raises UserError if no pair of a task remains.
    """
    names = pairs["task"].tolist()
    sources, targets = tokenizer.encode_pairs(with_tasks(pairs["source"], names), pairs["target"].tolist())
    counts = {name: {"pairs": 0, "too_long": 0, "cut": 0} for name in sorted(set(names))}
    cutters = {name: _cutter(name, kinds[name], tokenizer, settings.source_limit) for name in counts if name in kinds}
    kept = []
    for index, name in enumerate(names):
        is_long = len(sources[index]) > settings.source_limit
        if len(targets[index]) > settings.max_tokens or (is_long and cutters.get(name) is None):
            counts[name]["too_long"] += 1
            continue
        if is_long and (cut := cutters[name]) is not None:
            sources[index] = cut(sources[index])
            counts[name]["cut"] += 1
        counts[name]["pairs"] += 1
        kept.append(index)
    for name in (name for name, each in counts.items() if not each["pairs"]):
        raise UserError(
            f"params.yaml: encode.max_tokens is {settings.max_tokens} (for sources {settings.source_limit}), and every pair{_of(name)} is"
            " longer. Raise it."
        )
    rows = pairs.iloc[kept]
    corpus = encoded_corpus(
        [sources[i] for i in kept],
        [targets[i] for i in kept],
        np.stack(rows["folds"].to_list()),  # (N, R)
        len(tokenizer.pieces),
        weights=rows["weight"].tolist(),
        tasks=rows["task"].tolist(),
    )
    return corpus, {
        "pairs": len(kept),
        "back_translated": int((corpus.folds == NO_FOLD).all(dim=1).sum()),
        "too_long": len(pairs) - len(kept),
        "cut": sum(each["cut"] for each in counts.values()),
        "source_tokens": len(corpus.source_tokens),
        "target_tokens": len(corpus.target_tokens),
    } | ({"tasks": counts} if len(counts) > 1 else {})


def warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Return a line for each task of which more than 1 % of the pairs were left out or cut."""
    found = []
    for name, counts in metrics.get("tasks", {"": metrics}).items():
        total = counts["pairs"] + counts["too_long"]
        for what, key, setting in (("left out", "too_long", "max_tokens"), ("cut", "cut", "max_source_tokens")):
            if counts[key] > _ANNOUNCED * total:
                found.append(f"{counts[key]:,} of {total:,} pairs{_of(name)} are {what}, because they are too long: see encode.{setting}.")
    return found


def _of(task: str) -> str:
    return f" of {task}" if task else ""


def _cutter(name: str, kind: TaskKind, tokenizer: Tokenizer, limit: int) -> Callable[[Sequence[int]], list[int]] | None:
    """Return the function that cuts a long source of a task; None if its pairs are left out."""
    if kind.long_sources == "drop":
        return None
    return partial(cut_tokens, limit=limit, cut=kind.cut, kept=tokenizer.task_tokens(name))
