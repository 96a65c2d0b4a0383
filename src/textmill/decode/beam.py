"""Batched beam search over any step function, with the semantics of CTranslate2 4.8. A beam size of 1 is greedy search.

At each step the 2K best continuations of a source are computed, and the first K are considered. A continuation that ends, or
reaches the length limit, is finished; in the beam it is replaced by the next-best unfinished one. A source is done when K
hypotheses are finished. Hypotheses are ranked by log probability / length ** length_penalty (Wu et al. 2016, without their constant).

Dimensions: B sources, K beams, T tokens so far, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from textmill.decode.constraints import forbidden_tokens, repeated_tokens
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.special import BEGIN, END


class StepFunction(Protocol):
    """The model and its decoding state, for B * K rows."""

    def step(self, tokens: Tensor) -> Tensor:
        """Compute the logits (rows, V) of the next token. tokens: (rows,), the newest token of every row."""
        ...

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Normalize the logits (rows, V) of `step`, or changed ones."""
        ...

    def select(self, rows: Tensor, is_same_source: bool) -> None:
        """Keep these rows, in this order. is_same_source: every row is replaced by a row with the same source."""
        ...


class _Finished(NamedTuple):
    """score: total log probability. length: includes END."""

    score: float
    tokens: list[int]
    length: int


def beam_search(
    steps: StepFunction, num_sources: int, decode: DecodeSettings, num_hypotheses: int, device: torch.device
) -> list[list[Hypothesis]]:
    """Find the best outputs of each source. In `steps`, each source has K consecutive rows."""
    beams = decode.beam_size
    finished: list[list[_Finished]] = [[] for _ in range(num_sources)]
    sources = torch.arange(num_sources, device=device)  # (B,), those that are not done
    counts = torch.zeros(num_sources, dtype=torch.int64, device=device)  # finished hypotheses per source
    prefixes = torch.zeros(num_sources, beams, 0, dtype=torch.int64, device=device)  # (B, K, T)
    tokens = torch.full((num_sources * beams,), BEGIN, dtype=torch.int64, device=device)
    scores = torch.full((num_sources, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams start equal, so only the first may continue
    for length in range(1, decode.max_tokens + 1):
        log_probabilities = steps.log_probabilities(constrained(steps.step(tokens), prefixes.flatten(0, 1), decode))  # (B * K, V)
        vocabulary = log_probabilities.shape[-1]
        totals = log_probabilities.view(len(sources), beams, vocabulary) + scores[:, :, None]  # (B, K, V)
        best, indices = totals.flatten(1).topk(2 * beams, dim=1)  # (B, 2K)
        parents, newest = indices // vocabulary, indices % vocabulary
        is_possible = best[:, :beams] != -torch.inf  # (B, K); true for all after the first step, unless the vocabulary is tiny
        is_last = length == decode.max_tokens
        ends = is_possible if is_last else is_possible & (newest[:, :beams] == END)
        is_open = None
        if is_last or bool((ends | ~is_possible).any()):
            _collect(finished, ends, sources, best, _extended(prefixes, parents[:, :beams], newest[:, :beams]))
            counts = counts + ends.sum(dim=1)
            is_open = (counts < beams) & is_possible[:, 0]  # (B,)
            if is_last or not is_open.any():
                break
            ranks = _continued(ends, is_possible, newest != END)
            parents, newest = parents.gather(1, ranks), newest.gather(1, ranks)
            best = best.gather(1, ranks).masked_fill(~is_possible, -torch.inf)
        parents, newest, scores = parents[:, :beams], newest[:, :beams], best[:, :beams]  # (B, K)
        prefixes = _extended(prefixes, parents, newest)
        rows = parents + torch.arange(0, len(sources) * beams, beams, device=device)[:, None]
        is_same_source = is_open is None or bool(is_open.all())
        if is_open is not None and not is_same_source:
            rows, newest, scores, prefixes, counts, sources = (each[is_open] for each in (rows, newest, scores, prefixes, counts, sources))
        steps.select(rows.flatten(), is_same_source)
        tokens = newest.flatten()
    return [_ranked(each, decode.length_penalty, num_hypotheses) for each in finished]


def constrained(logits: Tensor, prefixes: Tensor, decode: DecodeSettings) -> Tensor:
    """Apply repetition_penalty, no_repeat_ngram and min_tokens of `decode`. logits: (rows, V). prefixes: (rows, T), the tokens so far."""
    if not decode.is_constrained:
        return logits
    logits, rows = logits.clone(), prefixes.tolist()
    if decode.repetition_penalty != 1.0:
        row, token = (torch.tensor(each, dtype=torch.int64, device=logits.device) for each in repeated_tokens(rows))
        values = logits[row, token]
        logits[row, token] = torch.where(values < 0, values * decode.repetition_penalty, values / decode.repetition_penalty)
    row, token = (torch.tensor(each, dtype=torch.int64, device=logits.device) for each in forbidden_tokens(rows, decode))
    logits[row, token] = torch.finfo(logits.dtype).min  # not -inf, as in CTranslate2: if all are forbidden, none is preferred
    return logits


def _extended(prefixes: Tensor, parents: Tensor, newest: Tensor) -> Tensor:
    """Append a token to the prefix of each parent. prefixes: (B, K, T). parents, newest: (B, K). Returns (B, K, T + 1)."""
    chosen = prefixes.gather(1, parents[:, :, None].expand(-1, -1, prefixes.shape[2]))
    return torch.cat([chosen, newest[:, :, None]], dim=2)


def _collect(finished: list[list[_Finished]], ends: Tensor, sources: Tensor, best: Tensor, extended: Tensor) -> None:
    """Add the candidates that end to `finished`, best first.

    finished: per source.
    ends: (B, K), whether the candidate ends.
    best: (B, 2K), total log probabilities.
    extended: (B, K, T + 1), the candidates with their newest token.
    """
    where, rank = ends.nonzero(as_tuple=True)
    if not len(where):
        return
    found = zip(sources[where].tolist(), best[where, rank].tolist(), extended[where, rank].tolist(), strict=True)
    for source, score, tokens in found:
        finished[source].append(_Finished(score, tokens[:-1] if tokens[-1] == END else tokens, len(tokens)))


def _continued(ends: Tensor, is_possible: Tensor, is_unfinished: Tensor) -> Tensor:
    """Choose the K candidates of each source that stay in the beam. Returns their ranks (B, K).

    A candidate that ends is replaced by the next-best unfinished one of the second K, or stays if there is none.
    An impossible one (only if the vocabulary is smaller than the beam) becomes a copy of the first.
    ends, is_possible: (B, K). is_unfinished: (B, 2K).
    """
    beams = ends.shape[1]
    reserve = is_unfinished[:, beams:]  # (B, K)
    order = (~reserve).to(torch.int8).argsort(dim=1, stable=True) + beams  # ranks of the reserve, best first
    number = (ends.cumsum(dim=1) - 1).clamp(min=0)  # the how-manieth candidate that ends
    is_replaced = ends & (number < reserve.sum(dim=1, keepdim=True))
    ranks = torch.where(is_replaced, order.gather(1, number), torch.arange(beams, device=ends.device))
    return torch.where(is_possible, ranks, ranks[:, :1])


def _ranked(finished: list[_Finished], length_penalty: float, num_hypotheses: int) -> list[Hypothesis]:
    ranked = [Hypothesis(tokens, score / length**length_penalty) for score, tokens, length in finished]
    return sorted(ranked, key=lambda hypothesis: -hypothesis.score)[:num_hypotheses]
