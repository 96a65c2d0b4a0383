"""The batched beam search against a plain one on Python lists, and against a search of all outputs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toy import DECODE

from textmill.decode.beam import beam_search
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.model.interface import Seq2SeqModel
from textmill.tokenizer.special import BEGIN, END

CPU = torch.device("cpu")


class Table:
    """A language model whose logits are random numbers, a function of the source and of the tokens so far."""

    def __init__(self, sources: int, beams: int, vocabulary: int, seed: int, choices: list[float] | None = None) -> None:
        self.rows: list[tuple[int, ...]] = [(source,) for source in range(sources) for _ in range(beams)]
        self.vocabulary, self.seed, self.choices = vocabulary, seed, choices
        self.drawn: dict[tuple[int, ...], list[float]] = {}

    def logits(self, row: tuple[int, ...]) -> list[float]:
        if row not in self.drawn:
            numbers = random.Random(f"{self.seed} {row}")
            self.drawn[row] = [numbers.choice(self.choices) if self.choices else numbers.gauss(0, 2) for _ in range(self.vocabulary)]
        return self.drawn[row]

    def step(self, tokens: Tensor) -> Tensor:
        self.rows = [(*row, token) for row, token in zip(self.rows, tokens.tolist(), strict=True)]
        return torch.tensor([self.logits(row) for row in self.rows])

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return logits if self.choices else torch.log_softmax(logits, dim=-1)

    def select(self, rows: Tensor, is_same_source: bool) -> None:
        kept = [self.rows[row] for row in rows.tolist()]
        if is_same_source:
            assert [row[0] for row in kept] == [row[0] for row in self.rows]
        self.rows = kept


def plain_search(table: Table, source: int, decode: DecodeSettings, num_hypotheses: int) -> list[Hypothesis]:
    """The rules of beam.py for one source, on Python lists."""
    beams = decode.beam_size
    open_tokens, scores = [[] for _ in range(beams)], [0.0] + [-torch.inf] * (beams - 1)
    finished: list[tuple[float, list[int], int]] = []
    for length in range(1, decode.max_tokens + 1):
        rows = torch.tensor([table.logits((source, BEGIN, *prefix)) for prefix in open_tokens])
        totals = table.log_probabilities(rows) + torch.tensor(scores)[:, None]
        best, indices = totals.flatten().topk(2 * beams)
        candidates = [(score, *divmod(index, table.vocabulary)) for score, index in zip(best.tolist(), indices.tolist(), strict=True)]
        reserve = iter([candidate for candidate in candidates[beams:] if candidate[2] != END])
        chosen = []
        for candidate in candidates[:beams]:
            score, beam, token = candidate
            if score == -torch.inf:
                continue
            if token == END or length == decode.max_tokens:
                prefix = open_tokens[beam]
                finished.append((score, prefix if token == END else [*prefix, token], len(prefix) + 1))
                candidate = next(reserve, candidate)
            chosen.append(candidate)
        if len(finished) >= beams or not chosen:
            break
        while len(chosen) < beams:
            chosen.append((-torch.inf, chosen[0][1], chosen[0][2]))
        open_tokens = [[*open_tokens[beam], token] for _, beam, token in chosen]
        scores = [score for score, _, _ in chosen]
    ranked = [Hypothesis(tokens, score / length**decode.length_penalty) for score, tokens, length in finished]
    return sorted(ranked, key=lambda hypothesis: -hypothesis.score)[:num_hypotheses]


@pytest.mark.parametrize("choices", [None, [0.0, -1.0], [-0.5, -torch.inf, -2.0, -torch.inf]], ids=["random", "ties", "impossible tokens"])
@pytest.mark.parametrize(("beams", "vocabulary"), [(1, 9), (2, 5), (4, 5), (4, 20), (6, 6)])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_tensors_find_exactly_what_lists_find(choices: list[float] | None, beams: int, vocabulary: int, length_penalty: float) -> None:
    decode = replace(DECODE, beam_size=beams, max_tokens=7, length_penalty=length_penalty)
    lengths = set()
    for seed in range(6):
        table = Table(5, beams, vocabulary, seed, choices)
        found = beam_search(table, 5, decode, beams, CPU)
        assert found == [plain_search(table, source, decode, beams) for source in range(5)]
        lengths |= {len(hypothesis.tokens) for row in found for hypothesis in row}
    assert len(lengths) > 3


def exhaustive(table: Table, decode: DecodeSettings, is_allowed: Callable[[tuple[int, ...]], bool]) -> list[Hypothesis]:
    """All outputs with their scores, best first, where each next token is one of those that are allowed."""
    found, waiting = [], [((), 0.0)]
    for prefix, total in waiting:
        logits = torch.tensor(table.logits((0, BEGIN, *prefix)))
        for token in set(prefix):
            logits[token] *= decode.repetition_penalty if logits[token] < 0 else 1 / decode.repetition_penalty
        logits[[token for token in range(table.vocabulary) if not is_allowed((*prefix, token))]] = -torch.inf
        for token, score in enumerate(torch.log_softmax(logits, dim=-1).tolist()):
            output = (*prefix, token)
            if score == -torch.inf:
                continue
            if token == END or len(output) == decode.max_tokens:
                tokens = list(prefix if token == END else output)
                found.append(Hypothesis(tokens, (total + score) / len(output) ** decode.length_penalty))
            else:
                waiting.append((output, total + score))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def allowed(decode: DecodeSettings) -> Callable[[tuple[int, ...]], bool]:
    def is_allowed(output: tuple[int, ...]) -> bool:
        if output[-1] == END:
            return len(output) > decode.min_tokens
        size = decode.no_repeat_ngram
        grams = [output[start : start + size] for start in range(len(output) - size + 1)] if size else []
        return len(grams) == len(set(grams))

    return is_allowed


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 2},
        {"repetition_penalty": 4.0},
        {"min_tokens": 2},
        {"min_tokens": 4, "no_repeat_ngram": 2},
    ],
)
def test_a_wide_beam_finds_the_best_of_all_outputs(changes: dict[str, float]) -> None:
    decode = replace(DECODE, beam_size=125, max_tokens=4, **changes)  # 5 pieces and 4 steps: nothing is forgotten
    plain = 0
    for seed in range(6):
        best = exhaustive(table := Table(1, 125, 5, seed), decode, allowed(decode))[0]
        found = beam_search(table, 1, decode, 1, CPU)[0][0]
        assert found.tokens == best.tokens and found.score == pytest.approx(best.score, abs=1e-5)
        plain += best.tokens == exhaustive(table, replace(DECODE, max_tokens=4), lambda _: True)[0].tokens
    assert plain < 6 or not changes, "the option changes no output"


def test_constraints_hold_for_every_hypothesis_of_a_narrow_beam() -> None:
    decode = replace(DECODE, beam_size=3, max_tokens=12, min_tokens=5, no_repeat_ngram=2)
    hypotheses = list(itertools.chain(*beam_search(Table(6, 3, 9, 1), 6, decode, 3, CPU)))
    assert len(hypotheses) == 18
    for tokens, _ in hypotheses:
        pairs = list(itertools.pairwise(tokens))
        assert len(tokens) >= 5 and len(pairs) == len(set(pairs))


def test_long_targets_are_scored_in_smaller_batches_with_the_same_result(model: Seq2SeqModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, targets = TorchEngine([model]), [[300] * length for length in (30, 1, 2, 9, 1, 12)]
    sources = [[301, 302]] * len(targets)
    whole = engine.score(sources, targets)
    shapes, logits = [], model.logits
    monkeypatch.setattr(model, "logits", lambda states: shapes.append(tuple(states.shape[:2])) or logits(states))
    monkeypatch.setattr("textmill.decode.torch_engine._SCORE_POSITIONS", 20)
    for one, other in zip(engine.score(sources, targets), whole, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert shapes == [(3, 3), (1, 10), (1, 13), (1, 31)], "one row at least, and else at most 20 positions"
