"""Batched beam search over any step function, with the semantics of CTranslate2 4.8; a beam of 1 is greedy search.

Of the 2K best continuations of a source the first K are looked at: one that ends, or reaches the length limit, is
finished and its place is taken by the best open one behind; a source is done when K have finished. Ranking is by log
probability over length to the length penalty (Wu et al. 2016, without their constant).

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
    """Decoding state of B * K rows."""

    def step(self, tokens: Tensor) -> Tensor:
        """tokens: (rows,), the newest of every row. Returns log probabilities (rows, V) of the next."""
        ...

    def select(self, rows: Tensor, is_same_source: bool) -> None:
        """Keep `rows`, in that order. is_same_source: every row is replaced by one of the same source."""
        ...


@dataclass
class _Source:
    """One source in the search. open_tokens: K prefixes. finished: (total log probability, tokens, length with end)."""

    index: int
    open_tokens: list[list[int]]
    finished: list[tuple[float, list[int], int]] = field(default_factory=list)


def beam_search(
    steps: StepFunction, num_sources: int, decode: DecodeSettings, num_hypotheses: int, device: torch.device
) -> list[list[Hypothesis]]:
    """Search the best outputs of `num_sources` sources, whose rows stand in `steps` K times each, one after the other."""
    beams = decode.beam_size
    sources = [_Source(index, [[] for _ in range(beams)]) for index in range(num_sources)]
    results: list[list[Hypothesis]] = [[] for _ in sources]
    tokens = torch.full((num_sources * beams,), BEGIN, dtype=torch.int64, device=device)
    scores = torch.full((num_sources, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams are equal at first: only one may continue
    for length in range(1, decode.max_tokens + 1):
        log_probabilities = steps.step(tokens)  # (B * K, V)
        vocabulary = log_probabilities.shape[-1]
        totals = log_probabilities.view(len(sources), beams, vocabulary) + scores[:, :, None]  # (B, K, V)
        best, places = totals.flatten(1).topk(2 * beams, dim=1)  # (B, 2K)
        best_list, places_list = best.tolist(), places.tolist()
        going_on, rows, newest, new_scores = [], [], [], []
        for position, source in enumerate(sources):
            candidates = [
                (score, *divmod(place, vocabulary)) for score, place in zip(best_list[position], places_list[position], strict=True)
            ]
            chosen = _advance(source, candidates, beams, is_last=length == decode.max_tokens)
            if chosen is None:
                results[source.index] = _ranked(source, decode.length_penalty, num_hypotheses)
                continue
            going_on.append(source)
            rows += [position * beams + beam for _, beam, _ in chosen]
            newest += [token for _, _, token in chosen]
            new_scores.append([score for score, _, _ in chosen])
        if not going_on:
            break
        steps.select(torch.tensor(rows, device=device), is_same_source=len(going_on) == len(sources))
        sources = going_on
        tokens = torch.tensor(newest, device=device)
        scores = torch.tensor(new_scores, device=device)
    return results


def _advance(source: _Source, candidates: list[tuple[float, int, int]], beams: int, is_last: bool) -> list[tuple[float, int, int]] | None:
    """Take one step of one source; None when it is done. candidates: 2K of (total, beam, token), best first."""
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
    while len(chosen) < beams:  # fewer continuations than beams: only with a vocabulary smaller than the beam
        chosen.append((-torch.inf, chosen[0][1], chosen[0][2]))
    source.open_tokens = [[*source.open_tokens[beam], token] for _, beam, token in chosen]
    return chosen


def _ranked(source: _Source, length_penalty: float, num_hypotheses: int) -> list[Hypothesis]:
    ranked = [Hypothesis(tokens, score / length**length_penalty) for score, tokens, length in source.finished]
    return sorted(ranked, key=lambda hypothesis: -hypothesis.score)[:num_hypotheses]
