"""The reference engine: one torch model or an ensemble, with key-value caches.

Dimensions: B sources, K beams, T target length, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from textmill.base.progress import Progress
from textmill.decode.beam import beam_search
from textmill.decode.sampling import Rows, sample
from textmill.decode.search import Hypothesis, Seeds, has_positions, row_seed, seeds_of
from textmill.decode.settings import DecodeSettings
from textmill.encode.batching import padded
from textmill.model.interface import DecodingState, Seq2SeqModel, num_parameters
from textmill.model.probabilities import token_log_probabilities
from textmill.model.weights import load_model
from textmill.tokenizer.special import BEGIN, END

_SCORE_BATCH, _SCORE_POSITIONS = 64, 16_384  # rows of a batch, and target positions, each of which has a logit for every token


class TorchEngine:
    """Decoding and scoring with torch; see Engine. An ensemble averages the probabilities of its models at every step."""

    def __init__(self, models: Sequence[Seq2SeqModel], device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.models = [model.to(self.device).eval() for model in models]
        self.num_parameters = sum(num_parameters(model) for model in models)

    @classmethod
    def load(cls, paths: Sequence[Path], device: torch.device | None = None) -> TorchEngine:
        """Load models written by `save_model`. Raises UserError if one is missing or damaged."""
        return cls([load_model(path) for path in paths], device)

    @torch.inference_mode()
    def generate(
        self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1, seed: Seeds = 0
    ) -> list[list[Hypothesis]]:
        """See Engine. Sources are decoded from longest to shortest, in batches of decode.batch_size."""
        seeds = seeds_of(seed, len(sources))
        results: list[list[Hypothesis]] = [[Hypothesis([], 0.0)] for _ in sources]
        order = sorted((index for index, source in enumerate(sources) if source), key=lambda index: -len(sources[index]))
        with Progress("decode", len(order), "texts") as progress:
            for start in range(0, len(order), decode.batch_size):
                rows = order[start : start + decode.batch_size]
                read, own = [decode.read_part(sources[row]) for row in rows], [seeds[row] for row in rows]
                found = self._decoded(read, decode, num_hypotheses, own)
                for row, hypotheses in zip(rows, found, strict=True):
                    results[row] = hypotheses
                progress.advance(len(rows))
        return results

    @torch.inference_mode()
    def stream(self, source: Sequence[int], decode: DecodeSettings, seed: int = 0) -> Iterator[int]:
        """See Engine."""
        source = decode.read_part(source)
        rows = Rows(
            self._steps([source], 1, decode), [row_seed(seed, source) if decode.method == "sampling" else None], decode, self.device
        )
        while rows.open:
            rows.advance()
            yield rows.tokens[0][-1]

    def _decoded(
        self, sources: Sequence[Sequence[int]], decode: DecodeSettings, number: int, seeds: Sequence[int]
    ) -> list[list[Hypothesis]]:
        if decode.method != "sampling":
            steps = self._steps(sources, decode.beam_size, decode)
            return beam_search(steps, len(sources), decode, number, self.device)
        of_rows = [row_seed(seed, source, each) for source, seed in zip(sources, seeds, strict=True) for each in range(number)]
        drawn = sample(self._steps(sources, number, decode), of_rows, decode, self.device)
        found = [drawn[start : start + number] for start in range(0, len(drawn), number)]
        return [sorted(hypotheses, key=lambda hypothesis: -hypothesis.score) for hypotheses in found]

    def _steps(self, sources: Sequence[Sequence[int]], beams: int, decode: DecodeSettings) -> _EnsembleSteps:
        return _EnsembleSteps(self.models, padded(list(sources)).to(self.device), beams, decode.is_constrained)

    @torch.inference_mode()
    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Engine. Raises ValueError for an empty source, because the model defines no probability for it."""
        if not all(sources):
            raise ValueError("an empty source has no probability")
        scores: list[list[float]] = [[] for _ in sources]
        order = sorted(range(len(sources)), key=lambda index: (len(targets[index]), len(sources[index])))
        for rows in _score_batches(order, targets):
            source = padded([sources[row] for row in rows]).to(self.device)
            target_input = padded([[BEGIN, *targets[row]] for row in rows]).to(self.device)
            target_output = padded([[*targets[row], END] for row in rows]).to(self.device)
            each = [token_log_probabilities(model.logits(model(source, target_input)), target_output) for model in self.models]
            for row, values in zip(rows, _log_mean(each).tolist(), strict=True):
                scores[row] = values[: len(targets[row]) + 1]
        return scores

    def can_score(self, source: Sequence[int], target: Sequence[int]) -> bool:
        """See Engine."""
        return all(has_positions(model.shape.architecture, model.shape.max_positions, source, target) for model in self.models)


def _score_batches(order: Sequence[int], targets: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Divide rows into batches of limited size. order: rows by ascending length of their target."""
    rows: list[int] = []
    for row in order:
        if len(rows) == _SCORE_BATCH or (rows and (len(rows) + 1) * (len(targets[row]) + 1) > _SCORE_POSITIONS):
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


class _EnsembleSteps:
    """The decoding states of all models; see StepFunction."""

    def __init__(self, models: Sequence[Seq2SeqModel], source: Tensor, beams: int, is_constrained: bool) -> None:
        self.models, self.beams, self.is_constrained = models, beams, is_constrained
        self.states: list[DecodingState] = [model.encode(source) for model in models]
        repeated = torch.arange(len(source), device=source.device).repeat_interleave(beams)  # (B * K,)
        for state in self.states:
            state.select(repeated)

    def step(self, tokens: Tensor) -> Tensor:
        """See StepFunction. An ensemble has no logits; the logarithms of its mean probabilities take their place."""
        each = [model.decode_step(tokens, state).float() for model, state in zip(self.models, self.states, strict=True)]
        return each[0] if len(each) == 1 else _log_mean([torch.log_softmax(logits, dim=-1) for logits in each])

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """See StepFunction."""
        return logits if len(self.models) > 1 and not self.is_constrained else torch.log_softmax(logits, dim=-1)

    def select(self, rows: Tensor, is_same_source: bool) -> None:
        """See StepFunction."""
        if is_same_source and self.beams == 1:
            return  # every row stays where it is
        for state in self.states:
            if is_same_source:
                state.select_past(rows)
            else:
                state.select(rows)


def _log_mean(log_probabilities: Sequence[Tensor]) -> Tensor:
    """Average probabilities that are given as logarithms. Returns the logarithm of the mean."""
    if len(log_probabilities) == 1:
        return log_probabilities[0]
    return torch.logsumexp(torch.stack(list(log_probabilities)), dim=0) - math.log(len(log_probabilities))
