"""Sampling with both engines: the distribution of the outputs, and seeds. Constraints: equal outputs of both engines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from toy import DECODE, MODEL, PAIRS

from textmill.base.errors import UserError
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.export.ct2_spec import write_ct2
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.tokenizer.special import BEGIN, END
from textmill.tokenizer.tokenizer import Tokenizer

SAMPLING = replace(DECODE, method="sampling")
ARCHITECTURES = ["encoder_decoder", "decoder_only"]
PIECES = ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "d"]


class Both(NamedTuple):
    """A model in both engines, which should decode in the same way."""

    network: Seq2SeqModel
    torch: Engine
    ct2: Engine

    @classmethod
    def of(cls, network: Seq2SeqModel, pieces: list[str], folder: Path) -> Both:
        write_ct2(network, pieces, folder, "float32")
        return cls(network, TorchEngine([network]), CTranslate2Engine(folder))


def random_network(architecture: str, size: int, spread: float) -> Seq2SeqModel:
    torch.manual_seed(3)
    network = build_model(Shape.of(replace(MODEL, architecture=architecture), size))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both.of(random_network(request.param, len(PIECES), 0.15), PIECES, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def usual(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Both:
    network = random_network(request.param, len(tokenizer.pieces), 0.4)
    with torch.no_grad():
        network.tokens.output_bias[END] += 6.0
    return Both.of(network, tokenizer.pieces, tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module")
def sources(tokenizer: Tokenizer) -> list[list[int]]:
    return tokenizer.encode_batch([source for source, _ in PAIRS[::9]])


def next_probabilities(network: Seq2SeqModel, source: list[int], prefix: tuple[int, ...], decode: DecodeSettings) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        logits = network.logits(network(torch.tensor([source]), torch.tensor([[BEGIN, *prefix]])))[0, -1].double().numpy()
    weights = np.exp(logits / decode.temperature)
    order = np.argsort(-weights)
    if decode.top_k:
        weights[order[decode.top_k :]] = 0
    probabilities = weights / weights.sum()
    kept, total = set(), 0.0
    for token in order:
        if total < decode.top_p and probabilities[token] >= decode.min_p * probabilities.max():
            kept.add(token)
        total += probabilities[token]
    probabilities[[token for token in range(len(logits)) if token not in kept]] = 0
    return probabilities / probabilities.sum()


def distribution(network: Seq2SeqModel, source: list[int], decode: DecodeSettings) -> dict[tuple[int, ...], float]:
    """The probability of every output."""
    found, waiting = {}, {(): 1.0}
    while waiting:
        prefix, probability = waiting.popitem()
        for token, share in enumerate(next_probabilities(network, source, prefix, decode)):
            if share and token == END:
                found[prefix] = probability * share
            elif share:
                (waiting if len(prefix) + 1 < decode.max_tokens else found)[(*prefix, token)] = probability * share
    return found


CUTS: list[dict[str, float]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 3.0},
    {"top_k": 3},
    {"top_p": 0.6},
    {"top_p": 0.6, "temperature": 2.0},
    {"top_k": 4, "top_p": 0.7, "temperature": 1.5},
    {"min_p": 0.3},
    {"min_p": 0.2, "temperature": 2.0},
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", ["torch", "ct2"])
def test_outputs_are_drawn_from_the_distribution_that_the_settings_define(tiny: Both, name: str, cut: dict[str, Any]) -> None:
    engine: Engine = getattr(tiny, name)
    decode = replace(SAMPLING, max_tokens=2, **cut)
    if name == "ct2" and "min_p" in cut:
        with pytest.raises(UserError, match=r"\Amin_p cannot be used with the exported model[^\n]*\Z"):
            engine.generate([[4]], decode)
        return
    expected = distribution(tiny.network, [4, 6], decode)
    number = 4000
    counts = Counter(tuple(hypothesis.tokens) for hypothesis in engine.generate([[4, 6]], decode, number, seed=1)[0])
    assert set(counts) <= set(expected), "an output that cannot be drawn"
    common = [output for output, share in expected.items() if share * number >= 5]
    rare = 1 - sum(expected[output] for output in common)
    observed = [counts[output] for output in common] + ([number - sum(counts[output] for output in common)] if rare * number >= 5 else [])
    shares = np.array([expected[output] for output in common] + ([rare] if rare * number >= 5 else []))
    assert len(observed) > 2 and chisquare(observed, shares / shares.sum() * sum(observed)).pvalue > 1e-3


@pytest.mark.parametrize("name", ["torch", "ct2"])
def test_a_seed_and_a_source_give_the_same_outputs_alone_in_a_batch_and_in_another_order(
    usual: Both, sources: list[list[int]], name: str
) -> None:
    engine: Engine = getattr(usual, name)

    def outputs(rows: list[list[int]], seed: int, batch_size: int = 16) -> list[list[list[int]]]:
        found = engine.generate(rows, replace(SAMPLING, batch_size=batch_size), 2, seed)
        return [[hypothesis.tokens for hypothesis in row] for row in found]

    together = outputs(sources, 1)
    assert together == [outputs([source], 1)[0] for source in sources]
    assert together == outputs(sources[::-1], 1, batch_size=3)[::-1]
    differ = [first != second for first, second in zip(together, outputs(sources, 2), strict=True)]
    assert sum(differ) > 0.8 * len(sources)
    assert sum(row[0] != row[1] for row in together) > 0.8 * len(sources)
    mixed = engine.generate([*sources, *sources], SAMPLING, 2, [1] * len(sources) + [2] * len(sources))
    assert [[hypothesis.tokens for hypothesis in row] for row in mixed] == together + outputs(sources, 2), "a seed per source"


@pytest.mark.parametrize("name", ["torch", "ct2"])
def test_scores_are_log_probabilities_of_the_model_and_sorted(usual: Both, sources: list[list[int]], name: str) -> None:
    engine: Engine = getattr(usual, name)
    rows = engine.generate(sources, replace(SAMPLING, temperature=2.0, top_k=50), 3, 1)
    ended = 0
    for source, row in zip(sources, rows, strict=True):
        assert [h.score for h in row] == sorted((h.score for h in row), reverse=True)
        for hypothesis in row:
            if hypothesis.is_finished(SAMPLING):
                ended += 1
                total = sum(engine.score([source], [hypothesis.tokens])[0])
                assert hypothesis.score == pytest.approx(total / (len(hypothesis.tokens) + 1), abs=1e-4)
    assert ended > 10


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize(
    "constraints",
    [
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 2},
        {"repetition_penalty": 1.5},
        {"min_tokens": 6},
        {"min_tokens": 8, "no_repeat_ngram": 2, "repetition_penalty": 1.2},
    ],
    ids=str,
)
def test_both_engines_apply_the_same_constraints(
    usual: Both, sources: list[list[int]], constraints: dict[str, Any], beam_size: int
) -> None:
    decode = replace(DECODE, beam_size=beam_size, **constraints)
    first, second = (engine.generate(sources, decode, beam_size) for engine in (usual.torch, usual.ct2))
    assert [[h.tokens for h in row] for row in first] == [[h.tokens for h in row] for row in second]
    for row, other in zip(first, second, strict=True):
        assert [h.score for h in row] == pytest.approx([h.score for h in other], abs=1e-4)
    plain = usual.torch.generate(sources, replace(DECODE, beam_size=beam_size), beam_size)
    assert [row[0].tokens for row in plain] != [row[0].tokens for row in first], "the constraint changes nothing"


@pytest.mark.parametrize("name", ["torch", "ct2"])
@pytest.mark.parametrize("changes", [{"method": "sampling"}, {"beam_size": 1}, {"beam_size": 1, "min_tokens": 5}], ids=str)
def test_a_stream_gives_the_tokens_that_generate_gives(usual: Both, sources: list[list[int]], name: str, changes: dict[str, Any]) -> None:
    engine: Engine = getattr(usual, name)
    decode = replace(DECODE, **changes)
    expected = [row[0].tokens for row in engine.generate(sources, decode, seed=4)]
    streamed = [list(engine.stream(source, decode, seed=4)) for source in sources]
    assert streamed == [tokens if len(tokens) == decode.max_tokens else [*tokens, END] for tokens in expected]
    assert {tokens[-1] == END for tokens in streamed} == {True, False}


@pytest.mark.parametrize("name", ["torch", "ct2"])
def test_a_stream_can_be_left_early(usual: Both, sources: list[list[int]], name: str) -> None:
    engine: Engine = getattr(usual, name)
    decode = replace(DECODE, beam_size=1, min_tokens=24)
    stream = engine.stream(sources[0], decode)
    first = [next(stream), next(stream)]
    stream.close()  # type: ignore[attr-defined]
    assert first == engine.generate([sources[0]], decode)[0][0].tokens[:2]
