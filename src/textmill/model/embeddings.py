"""Tokens to vectors and back. Dimensions: V vocabulary, D model width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textmill.tokenizer.special import PAD


class TokenEmbeddings(nn.Module):
    """Embeddings of source and target and the output layer: one matrix if tied (Vaswani et al. 2017, section 3.4; Press & Wolf 2017).

    has_source: an untied model with an encoder has a matrix of its own for the source.
    """

    def __init__(self, vocabulary_size: int, width: int, is_tied: bool, has_source: bool) -> None:
        super().__init__()
        self.target = nn.Embedding(vocabulary_size, width, padding_idx=PAD)
        self.own_source = nn.Embedding(vocabulary_size, width, padding_idx=PAD) if has_source and not is_tied else None
        self.own_output = None if is_tied else nn.Parameter(torch.empty(vocabulary_size, width))
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        # Variance 1/D, so that embeddings have variance 1 once scaled and a tied output starts small (section 3.4).
        for embedding in (self.target, self.own_source):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=width**-0.5)
                nn.init.zeros_(embedding.weight[PAD])
        if self.own_output is not None:
            nn.init.normal_(self.own_output, std=width**-0.5)

    @property
    def source(self) -> nn.Embedding:
        """The source's matrix (V, D): the target's, unless it has its own."""
        return self.target if self.own_source is None else self.own_source

    @property
    def output_weight(self) -> Tensor:
        """(V, D)."""
        return self.target.weight if self.own_output is None else self.own_output

    def embed_source(self, tokens: Tensor) -> Tensor:
        """tokens: (...). Returns (..., D), scaled by the root of D."""
        return self._scaled(self.source, tokens)

    def embed_target(self, tokens: Tensor) -> Tensor:
        """tokens: (...). Returns (..., D), scaled by the root of D."""
        return self._scaled(self.target, tokens)

    def logits(self, states: Tensor) -> Tensor:
        """states: (..., D). Returns (..., V)."""
        return F.linear(states, self.output_weight, self.output_bias)

    @staticmethod
    def _scaled(embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        vectors: Tensor = embedding(tokens)
        return vectors * math.sqrt(embedding.embedding_dim)
