"""Encode the development pairs as token ids."""

from __future__ import annotations

import numpy as np
import pandas as pd

from textmill.base.errors import UserError
from textmill.encode.encoded_corpus import NO_FOLD, EncodedCorpus, encoded_corpus
from textmill.encode.settings import EncodeSettings
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer


def with_back_translated(development: pd.DataFrame, back_translated: pd.DataFrame) -> pd.DataFrame:
    """Return the development pairs followed by the back-translated ones. Both tables have the same columns."""
    return pd.concat([development, back_translated], ignore_index=True)


def encode_corpus(pairs: pd.DataFrame, tokenizer: Tokenizer, settings: EncodeSettings) -> tuple[EncodedCorpus, dict[str, int]]:
    """Encode every pair (columns source, target, task, weight, folds) in order, with the task before its source.

    Pairs with more than `max_tokens` on a side are left out and counted.
    Returns the corpus and {"pairs", "back_translated", "too_long", "source_tokens", "target_tokens"}.
    Raises UserError if no pair remains.
    """
    sources, targets = tokenizer.encode_pairs(with_tasks(pairs["source"], pairs["task"]), pairs["target"].tolist())
    kept = [
        index
        for index, (source, target) in enumerate(zip(sources, targets, strict=True))
        if max(len(source), len(target)) <= settings.max_tokens
    ]
    if not kept:
        raise UserError(f"params.yaml: encode.max_tokens is {settings.max_tokens}, and every pair is longer. Raise it.")
    rows = pairs.iloc[kept]
    corpus = encoded_corpus(
        [sources[i] for i in kept],
        [targets[i] for i in kept],
        np.stack(rows["folds"].to_list()),  # (N, R)
        len(tokenizer.pieces),
        weights=rows["weight"].tolist(),
        tasks=sorted(set(rows["task"])),
    )
    return corpus, {
        "pairs": len(kept),
        "back_translated": int((corpus.folds == NO_FOLD).all(dim=1).sum()),
        "too_long": len(pairs) - len(kept),
        "source_tokens": len(corpus.source_tokens),
        "target_tokens": len(corpus.target_tokens),
    }
