from __future__ import annotations

import pytest
import torch

from textmill.model.dropout import Dropout


@pytest.mark.parametrize("shape", [(64, 500), (3000, 500)], ids=["from the pool", "larger than the pool allows"])
def test_it_zeroes_the_wanted_share_scales_the_rest_and_passes_gradients_through_the_same_mask(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape, requires_grad=True)
    out = Dropout(0.1)(x)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.9])
    assert float((out == 0).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert x.grad is not None and torch.equal(x.grad, out)


def test_masks_differ_from_call_to_call_and_follow_torchs_generator() -> None:
    dropout, x = Dropout(0.5), torch.ones(40, 40)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = dropout(x), dropout(x)
    torch.set_rng_state(state)
    assert not torch.equal(first, second)
    assert torch.equal(dropout(x), first) and torch.equal(dropout(x), second)


def test_neither_evaluation_nor_probability_zero_changes_anything() -> None:
    x = torch.randn(5, 7)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x


def test_bfloat16_stays_bfloat16() -> None:
    assert Dropout(0.1)(torch.ones(4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
