"""word2vec embeddings (Mikolov et al. 2013) to initialize a model. Dimensions: V vocabulary, D width."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from textmill.tokenizer.special import PAD

_WINDOW, _EPOCHS = 5, 5  # the defaults of the original program and of gensim


def word2vec_embeddings(sentences: Iterable[Sequence[int]], vocabulary_size: int, width: int, seed: int) -> Tensor:
    """Train skip-gram vectors for all tokens, (V, D), scaled to the standard deviation of random embeddings, 1 / sqrt(D).

    sentences: token ids.
    A token that does not occur gets a random vector; PAD gets zeros.
    The result is the same in every process on one kind of machine: training uses one worker, and a hash that does not depend
    on PYTHONHASHSEED.
    """
    from gensim.models import Word2Vec  # here and not above: the import takes a second, and every training imports this module

    texts = [[str(token) for token in sentence] for sentence in sentences]
    spread = width**-0.5
    vectors: Tensor = torch.randn(vocabulary_size, width, generator=torch.Generator().manual_seed(seed)) * spread
    if any(texts):
        trained = Word2Vec(
            texts, vector_size=width, window=_WINDOW, epochs=_EPOCHS, min_count=1, sg=1, workers=1, seed=seed, hashfxn=_stable_hash
        ).wv
        indices = torch.tensor([int(token) for token in trained.index_to_key])
        found = torch.from_numpy(np.asarray(trained.vectors, dtype=np.float32).copy())
        vectors[indices] = found * (spread / found.std().clamp_min(1e-12))
    vectors[PAD] = 0
    return vectors


def _stable_hash(text: str) -> int:
    return zlib.crc32(text.encode())
