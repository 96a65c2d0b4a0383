"""Token embeddings and the output projection. Dimensions: V vocabulary, D model width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textmill.tokenizer.special import PAD


class TokenEmbeddings(nn.Module):
    """Source embedding, target embedding and output layer.

    is_tied: all three share one matrix (Vaswani et al. 2017, section 3.4; Press & Wolf 2017).
    has_source: the model has an encoder, so an untied model needs a separate source embedding.
    """

    def __init__(self, vocabulary_size: int, width: int, is_tied: bool, has_source: bool) -> None:
        super().__init__()
        self.target = nn.Embedding(vocabulary_size, width, padding_idx=PAD)
        self.own_source = nn.Embedding(vocabulary_size, width, padding_idx=PAD) if has_source and not is_tied else None
        self.own_output = None if is_tied else nn.Parameter(torch.empty(vocabulary_size, width))
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        # Variance 1/D: embeddings have variance 1 after scaling, and the logits of a tied output start small (section 3.4).
        for embedding in (self.target, self.own_source):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=width**-0.5)
                nn.init.zeros_(embedding.weight[PAD])
        if self.own_output is not None:
            nn.init.normal_(self.own_output, std=width**-0.5)

    @property
    def source(self) -> nn.Embedding:
        """The source embedding, (V, D): the target embedding unless the model has a separate one."""
        return self.target if self.own_source is None else self.own_source

    @property
    def output_weight(self) -> Tensor:
        """Weight of the output layer, (V, D)."""
        return self.target.weight if self.own_output is None else self.own_output

    def embed_source(self, tokens: Tensor) -> Tensor:
        """Embed source tokens (...). Returns (..., D), multiplied by sqrt(D)."""
        return self._scaled(self.source, tokens)

    def embed_target(self, tokens: Tensor) -> Tensor:
        """Embed target tokens (...). Returns (..., D), multiplied by sqrt(D)."""
        return self._scaled(self.target, tokens)

    def logits(self, states: Tensor) -> Tensor:
        """Project states (..., D) to logits (..., V)."""
        return F.linear(states, self.output_weight, self.output_bias)

    @staticmethod
    def _scaled(embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        vectors: Tensor = embedding(tokens)
        return vectors * math.sqrt(embedding.embedding_dim)
