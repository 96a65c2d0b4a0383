"""Embeddings learned from the text alone (Mikolov et al. 2013), to start a model's from. Dimensions: V vocabulary, D width."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from textmill.tokenizer.special import PAD

_WINDOW, _EPOCHS = 5, 5  # the defaults of the authors' program, as gensim has them


def word2vec_embeddings(sentences: Iterable[Sequence[int]], vocabulary_size: int, width: int, seed: int) -> Tensor:
    """Skip-gram vectors of all tokens, (V, D), with the spread of random embeddings: standard deviation 1 / root of D.

    sentences: token ids. A token that never occurs keeps a random vector, PAD is 0. The same bits in every process of one kind
    of machine: one worker, and a hash that PYTHONHASHSEED does not change.
    """
    from gensim.models import Word2Vec  # not above: it takes a second, and every training of a fold imports this module

    texts = [[str(token) for token in sentence] for sentence in sentences]
    spread = width**-0.5
    vectors: Tensor = torch.randn(vocabulary_size, width, generator=torch.Generator().manual_seed(seed)) * spread
    if any(texts):
        trained = Word2Vec(
            texts, vector_size=width, window=_WINDOW, epochs=_EPOCHS, min_count=1, sg=1, workers=1, seed=seed, hashfxn=_stable_hash
        ).wv
        places = torch.tensor([int(token) for token in trained.index_to_key])
        found = torch.from_numpy(np.asarray(trained.vectors, dtype=np.float32).copy())
        vectors[places] = found * (spread / found.std().clamp_min(1e-12))
    vectors[PAD] = 0
    return vectors


def _stable_hash(text: str) -> int:
    return zlib.crc32(text.encode())
