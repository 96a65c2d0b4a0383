"""Development text to encoded pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from textmill.errors import UserError
from textmill.settings.tokens import EncodeSettings
from textmill.tokens.shards import EncodedCorpus, encoded_corpus
from textmill.tokens.tokenizer import Tokenizer


def encode_corpus(pairs: pd.DataFrame, tokenizer: Tokenizer, settings: EncodeSettings) -> tuple[EncodedCorpus, dict[str, int]]:
    """Encode every pair (columns source, target, folds), in order.

    Pairs with more than `max_tokens` on a side are left out and counted.
    Returns the corpus and {"pairs", "too_long", "source_tokens", "target_tokens"}. Raises UserError if none is left.
    """
    sources = tokenizer.encode_batch(pairs["source"].tolist())
    targets = tokenizer.encode_batch(pairs["target"].tolist())
    kept = [
        index
        for index, (source, target) in enumerate(zip(sources, targets, strict=True))
        if max(len(source), len(target)) <= settings.max_tokens
    ]
    if not kept:
        raise UserError(f"params.yaml: encode.max_tokens is {settings.max_tokens}, and every pair is longer. Raise it.")
    folds = np.stack(pairs["folds"].to_list())[kept]  # (N, R)
    corpus = encoded_corpus([sources[i] for i in kept], [targets[i] for i in kept], folds, len(tokenizer.pieces))
    return corpus, {
        "pairs": len(kept),
        "too_long": len(pairs) - len(kept),
        "source_tokens": len(corpus.source_tokens),
        "target_tokens": len(corpus.target_tokens),
    }
