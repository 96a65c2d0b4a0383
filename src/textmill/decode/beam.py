"""Batched beam search over any step function, with the semantics of CTranslate2 4.8. A beam size of 1 is greedy search.

At each step the 2K best continuations of a source are computed, and the first K are considered. A continuation that ends, or
reaches the length limit, is finished; in the beam it is replaced by the next-best unfinished one. A source is done when K
hypotheses are finished. Hypotheses are ranked by log probability / length ** length_penalty (Wu et al. 2016, without their constant).

Dimensions: B sources, K beams, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.special import BEGIN, END


class StepFunction(Protocol):
    """The model and its decoding state, for B * K rows."""

    def step(self, tokens: Tensor) -> Tensor:
        """Compute the log probabilities (rows, V) of the next token. tokens: (rows,), the newest token of every row."""
        ...

    def select(self, rows: Tensor, is_same_source: bool) -> None:
        """Keep these rows, in this order. is_same_source: every row is replaced by a row with the same source."""
        ...


@dataclass
class _Source:
    """The search state of one source.

    open_tokens: the K unfinished prefixes.
    finished: (total log probability, tokens, length including END).
    """

    index: int
    open_tokens: list[list[int]]
    finished: list[tuple[float, list[int], int]] = field(default_factory=list)


def beam_search(
    steps: StepFunction, num_sources: int, decode: DecodeSettings, num_hypotheses: int, device: torch.device
) -> list[list[Hypothesis]]:
    """Find the best outputs of each source. In `steps`, each source has K consecutive rows."""
    beams = decode.beam_size
    sources = [_Source(index, [[] for _ in range(beams)]) for index in range(num_sources)]
    results: list[list[Hypothesis]] = [[] for _ in sources]
    tokens = torch.full((num_sources * beams,), BEGIN, dtype=torch.int64, device=device)
    scores = torch.full((num_sources, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams start equal, so only the first may continue
    for length in range(1, decode.max_tokens + 1):
        log_probabilities = steps.step(tokens)  # (B * K, V)
        vocabulary = log_probabilities.shape[-1]
        totals = log_probabilities.view(len(sources), beams, vocabulary) + scores[:, :, None]  # (B, K, V)
        best, indices = totals.flatten(1).topk(2 * beams, dim=1)  # (B, 2K)
        best_list, indices_list = best.tolist(), indices.tolist()
        unfinished, rows, newest, new_scores = [], [], [], []
        for position, source in enumerate(sources):
            candidates = [
                (score, *divmod(index, vocabulary)) for score, index in zip(best_list[position], indices_list[position], strict=True)
            ]
            chosen = _advance(source, candidates, beams, is_last=length == decode.max_tokens)
            if chosen is None:
                results[source.index] = _ranked(source, decode.length_penalty, num_hypotheses)
                continue
            unfinished.append(source)
            rows += [position * beams + beam for _, beam, _ in chosen]
            newest += [token for _, _, token in chosen]
            new_scores.append([score for score, _, _ in chosen])
        if not unfinished:
            break
        steps.select(torch.tensor(rows, device=device), is_same_source=len(unfinished) == len(sources))
        sources = unfinished
        tokens = torch.tensor(newest, device=device)
        scores = torch.tensor(new_scores, device=device)
    return results


def _advance(source: _Source, candidates: list[tuple[float, int, int]], beams: int, is_last: bool) -> list[tuple[float, int, int]] | None:
    """Advance one source by one step. Returns the K chosen candidates, or None if the source is done.

    candidates: 2K tuples (total log probability, beam, token), best first.
    """
    reserve = iter([candidate for candidate in candidates[beams:] if candidate[2] != END])
    chosen = []
    for candidate in candidates[:beams]:
        score, beam, token = candidate
        if score == -torch.inf:
            continue
        if token == END or is_last:
            prefix = source.open_tokens[beam]
            tokens = prefix if token == END else [*prefix, token]
            source.finished.append((score, tokens, len(prefix) + 1))
            candidate = next(reserve, candidate)
        chosen.append(candidate)
    if is_last or len(source.finished) >= beams:
        return None
    while len(chosen) < beams:  # only if the vocabulary is smaller than the beam
        chosen.append((-torch.inf, chosen[0][1], chosen[0][2]))
    source.open_tokens = [[*source.open_tokens[beam], token] for _, beam, token in chosen]
    return chosen


def _ranked(source: _Source, length_penalty: float, num_hypotheses: int) -> list[Hypothesis]:
    ranked = [Hypothesis(tokens, score / length**length_penalty) for score, tokens, length in source.finished]
    return sorted(ranked, key=lambda hypothesis: -hypothesis.score)[:num_hypotheses]
