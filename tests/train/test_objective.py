from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy import MODEL

from textmill.encode.batching import make_batch
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.tokenizer.special import END, PAD
from textmill.train import objective
from textmill.train.objective import (
    Objective,
    fused_loss,
    label_smoothed_nll,
    projected_nll,
    projected_r_drop,
    r_drop_of_chunk,
    smoothed_nll_of_chunk,
)


def leaves_and_targets(count: int, passes: int = 1) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return states of `passes` times `count` tokens, weight and bias, in float32 and float64, and targets (count,)."""
    torch.manual_seed(count)
    values = torch.randn(passes * count, 7), torch.randn(23, 7), torch.randn(23)
    targets = torch.randint(0, 23, (count,))
    return [value.clone().requires_grad_() for value in values], [value.double().requires_grad_() for value in values], targets


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("chunk_bytes", [1, 4 * 23 * 17, 4 * 23 * 50, 1 << 24], ids=lambda size: f"chunk {size}")
@pytest.mark.parametrize("count", [0, 1, 16, 50])
def test_the_projected_loss_and_its_gradients_are_those_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, epsilon: float, chunk_bytes: int, count: int
) -> None:
    """A chunk has at least 16 rows. 50 rows are not a multiple of 16 or 17, but of 50."""
    monkeypatch.setitem(objective._CHUNK_BYTES, "cpu", chunk_bytes)
    ours, exact, targets = leaves_and_targets(count)
    loss = projected_nll(*ours, targets, epsilon, denominator=13.0)
    wanted = F.cross_entropy(F.linear(*exact), targets, label_smoothing=epsilon, reduction="sum") / 13
    (3 * loss).backward()
    (3 * wanted).backward()
    torch.testing.assert_close(loss.double(), wanted, atol=1e-6, rtol=1e-6)
    for got, right in zip(ours, exact, strict=True):
        assert got.grad is not None
        torch.testing.assert_close(got.grad.double(), right.grad, atol=2e-6, rtol=1e-5)
    if not count:
        return
    mean = projected_nll(*ours, targets, epsilon, denominator=float(count))
    torch.testing.assert_close(mean, label_smoothed_nll(F.linear(*ours), targets, epsilon))


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 24])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_the_projected_loss_of_two_passes_and_its_gradients_are_those_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, count: int
) -> None:
    monkeypatch.setitem(objective._CHUNK_BYTES, "cpu", chunk_bytes)
    ours, exact, targets = leaves_and_targets(count, passes=2)
    loss = projected_r_drop(*ours, targets, 0.1, 0.7, denominator=13.0)
    logits = F.linear(*exact).chunk(2)
    first, second = (F.log_softmax(each, -1) for each in logits)
    cross = sum(F.cross_entropy(each, targets, label_smoothing=0.1, reduction="sum") for each in logits)
    apart = F.kl_div(first, second, log_target=True, reduction="sum") + F.kl_div(second, first, log_target=True, reduction="sum")
    wanted = (cross / 2 + 0.7 / 2 * apart) / 13
    (3 * loss).backward()
    (3 * wanted).backward()
    torch.testing.assert_close(loss.double(), wanted, atol=1e-5, rtol=1e-5)
    for got, right in zip(ours, exact, strict=True):
        assert got.grad is not None
        torch.testing.assert_close(got.grad.double(), right.grad, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("r_drop", [0.0, 0.7])
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 24])
@pytest.mark.parametrize("count", [1, 50])
def test_the_fused_loss_and_its_gradients_are_those_of_the_projected_one_over_real_tokens(
    monkeypatch: pytest.MonkeyPatch, r_drop: float, chunk_bytes: int, count: int
) -> None:
    """Every second target is PAD, which the fused loss does not count."""
    monkeypatch.setitem(objective._CHUNK_BYTES, "cpu", chunk_bytes)
    passes = 2 if r_drop else 1
    ours, exact, targets = leaves_and_targets(count, passes)
    targets = targets.clamp_min(END + 1)
    padded = torch.stack((targets, torch.full_like(targets, PAD)), 1).flatten()
    states = ours[0].repeat_interleave(2, 0)
    if r_drop:
        loss = fused_loss(states, *ours[1:], padded, torch.tensor(13), 2, partial(r_drop_of_chunk, epsilon=0.1, r_drop=r_drop))
        wanted = projected_r_drop(*exact, targets, 0.1, r_drop, denominator=13.0)
    else:
        loss = fused_loss(states, *ours[1:], padded, torch.tensor(13), 1, partial(smoothed_nll_of_chunk, epsilon=0.1))
        wanted = projected_nll(*exact, targets, 0.1, denominator=13.0)
    (3 * loss).backward()
    (3 * wanted).backward()
    torch.testing.assert_close(loss.double(), wanted.double(), atol=1e-5, rtol=1e-5)
    for got, right in zip(ours, exact, strict=True):
        assert got.grad is not None
        torch.testing.assert_close(got.grad.double(), right.grad, atol=2e-5, rtol=1e-4)


def test_in_bfloat16_the_projected_loss_is_that_of_the_rounded_logits() -> None:
    torch.manual_seed(0)
    states, weight, bias = (torch.randn(shape, dtype=torch.bfloat16) for shape in ((40, 8), (30, 8), (30,)))
    targets = torch.randint(0, 30, (40,))
    loss = projected_nll(states, weight, bias, targets, 0.1, 40.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, label_smoothed_nll(torch.addmm(bias, states, weight.t()), targets, 0.1))


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 24])
def test_a_validation_in_pieces_is_the_cross_entropy_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, model: Seq2SeqModel, corpus: EncodedCorpus, chunk_bytes: int
) -> None:
    monkeypatch.setitem(objective._CHUNK_BYTES, "cpu", chunk_bytes)
    batch = make_batch(corpus, range(30))
    got = Objective(model.eval(), 0.1, 0.0)(batch, 2.0)
    logits = model.logits(model(batch.source, batch.target_input)[batch.target_output != PAD])
    wanted = F.cross_entropy(logits, batch.targets(), reduction="sum").double() / 2
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-6)


def test_without_dropout_the_two_passes_of_r_drop_agree_and_the_loss_is_the_plain_one(model: Seq2SeqModel, corpus: EncodedCorpus) -> None:
    batch = make_batch(corpus, range(12))
    plain, twice = (Objective(model, 0.1, weight)(batch, 10.0) for weight in (0.0, 5.0))
    torch.testing.assert_close(plain, twice, atol=1e-5, rtol=1e-5)


def test_r_drop_is_the_mean_loss_and_half_the_weighted_divergences_of_two_passes(corpus: EncodedCorpus) -> None:
    torch.manual_seed(2)
    shape = Shape.of(replace(MODEL, dropout=0.3, attention_dropout=0.0), corpus.vocabulary_size)
    network = build_model(shape).train()
    batch = make_batch(corpus, [0, 9, 40])
    rows = len(batch.source)
    torch.manual_seed(5)
    loss = Objective(network, 0.1, 0.7)(batch, 21.0)
    torch.manual_seed(5)
    states = network(batch.source.repeat(2, 1), batch.target_input.repeat(2, 1))
    passes = [network.logits(half[batch.target_output != PAD]).double() for half in (states[:rows], states[rows:])]
    logs = [F.log_softmax(logits, -1) for logits in passes]
    cross = [F.cross_entropy(logits, batch.targets(), label_smoothing=0.1, reduction="sum") for logits in passes]
    there, back = (F.kl_div(logs[i], logs[1 - i], log_target=True, reduction="sum") for i in (0, 1))
    assert float(there.detach()) > 0.1
    expected = ((cross[0] + cross[1]) / 2 + 0.7 / 2 * (there + back)) / 21
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
