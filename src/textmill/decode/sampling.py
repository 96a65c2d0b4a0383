"""Sampling with torch: the next token is drawn from the model's distribution, after temperature, top-k, top-p and min-p.

They apply in this order, as in CTranslate2 4.8, which has no min-p.

Dimensions: R rows (outputs), V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from textmill.decode.beam import StepFunction, constrained
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.special import BEGIN, END


class Rows:
    """Outputs that are decoded together, each with its own random numbers.

    seeds: per row; None for the most probable token at every step.
    """

    def __init__(self, steps: StepFunction, seeds: Sequence[int | None], decode: DecodeSettings, device: torch.device) -> None:
        self._steps, self._decode, self._device = steps, decode, device
        self._random = [None if seed is None else random.Random(seed) for seed in seeds]
        self.open = list(range(len(seeds)))
        self.tokens: list[list[int]] = [[] for _ in seeds]
        self.scores = [0.0] * len(seeds)  # total log probabilities, before temperature and cuts
        self._newest = torch.full((len(seeds),), BEGIN, dtype=torch.int64, device=device)

    def advance(self) -> None:
        """Decode one token of every open row. A row closes after END, or with decode.max_tokens tokens."""
        prefixes = torch.tensor([self.tokens[row] for row in self.open], dtype=torch.int64, device=self._device)
        logits = constrained(self._steps.step(self._newest), prefixes, self._decode)
        log_probabilities = self._steps.log_probabilities(logits)  # (R, V)
        chosen = self._chosen(log_probabilities)  # (R,)
        gained = log_probabilities.gather(1, chosen[:, None])[:, 0].tolist()
        for row, token, score in zip(self.open, chosen.tolist(), gained, strict=True):
            self.tokens[row].append(token)
            self.scores[row] += score
        kept = [
            place for place, row in enumerate(self.open) if self.tokens[row][-1] != END and len(self.tokens[row]) < self._decode.max_tokens
        ]
        if kept and len(kept) < len(self.open):
            rows = torch.tensor(kept, device=self._device)
            self._steps.select(rows, is_same_source=False)
            chosen = chosen[rows]
        self.open = [self.open[place] for place in kept]
        self._newest = chosen

    def _chosen(self, log_probabilities: Tensor) -> Tensor:
        generators = [self._random[row] for row in self.open]
        numbers = [generator.random() for generator in generators if generator]
        if not numbers:
            return log_probabilities.argmax(dim=1)
        probabilities = truncated(log_probabilities, self._decode)
        sums = probabilities.cumsum(dim=1)  # inverse transform sampling
        thresholds = torch.tensor(numbers, dtype=torch.float64, device=self._device)[:, None] * sums[:, -1:]
        # Not beyond the last token that is possible: the product may be rounded up to the last sum.
        last = probabilities.shape[1] - 1 - (probabilities > 0).flip(1).to(torch.int8).argmax(dim=1)
        return torch.searchsorted(sums, thresholds, right=True)[:, 0].minimum(last)


def sample(steps: StepFunction, seeds: Sequence[int], decode: DecodeSettings, device: torch.device) -> list[Hypothesis]:
    """Draw one output per row of `steps`. seeds: per row."""
    rows = Rows(steps, list(seeds), decode, device)
    while rows.open:
        rows.advance()
    return [
        Hypothesis(tokens[:-1] if tokens[-1] == END else tokens, score / len(tokens) ** decode.length_penalty)
        for tokens, score in zip(rows.tokens, rows.scores, strict=True)
    ]


def truncated(log_probabilities: Tensor, decode: DecodeSettings) -> Tensor:
    """Return the probabilities (R, V), in float64, from which the next token is drawn. log_probabilities: (R, V).

    Sources: top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2025).
    """
    values = log_probabilities.double() / decode.temperature
    if 0 < decode.top_k < values.shape[1]:
        lowest = values.topk(decode.top_k, dim=1).values[:, -1:]
        values = values.masked_fill(values < lowest, -torch.inf)
    probabilities = values.softmax(dim=1)
    if decode.top_p < 1:
        ordered, ranks = probabilities.sort(dim=1, descending=True, stable=True)
        is_beyond = ordered.cumsum(dim=1) - ordered >= decode.top_p
        probabilities = probabilities.masked_fill(torch.zeros_like(is_beyond).scatter(1, ranks, is_beyond), 0.0)
    if decode.min_p:
        probabilities = probabilities.masked_fill(probabilities < decode.min_p * probabilities.amax(dim=1, keepdim=True), 0.0)
    return probabilities / probabilities.sum(dim=1, keepdim=True)
