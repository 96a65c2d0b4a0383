from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from toy import TRAIN

from textmill.train.averaging import MovingAverage, averaged
from textmill.train.optimization import Optimizer
from textmill.train.settings import TrainSettings

LOW = replace(TRAIN, precision="bfloat16", optimizer="adamw", weight_decay=0.1, gradient_clip=0.5)


def trained(settings: TrainSettings, steps: int, seed: int = 0) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    optimizer = Optimizer(module, settings, torch.device("cpu"))
    step(module, optimizer, range(steps))
    return module, optimizer


def step(module: nn.Module, optimizer: Optimizer, numbers: range) -> None:
    for number in numbers:
        for part in range(2):
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(10 * number + part)).to(next(module.parameters()).dtype)
            module(x).square().sum().backward()
            optimizer.collect()
        optimizer.set_learning_rate(0.01 / (number + 1))
        optimizer.step()


def test_in_bfloat16_the_module_holds_the_rounded_weights_and_small_steps_are_not_lost() -> None:
    module, optimizer = trained(LOW, 3)
    assert optimizer.has_copies
    for parameter, (name, weight) in zip(module.parameters(), optimizer.named_weights().items(), strict=True):
        assert parameter.dtype == torch.bfloat16 and weight.dtype == torch.float32
        assert torch.equal(parameter, weight.bfloat16()), name
        assert not torch.equal(weight, weight.bfloat16().float()), f"{name}: trained in bfloat16"
    before = {name: weight.clone() for name, weight in optimizer.named_weights().items()}
    rounded = [parameter.clone() for parameter in module.parameters()]
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.collect()
    optimizer.set_learning_rate(1e-6)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(rounded, module.parameters(), strict=True)), "too small for bfloat16"
    assert all(not torch.equal(before[name], weight) for name, weight in optimizer.named_weights().items())


def test_bfloat16_gradients_are_added_up_in_float32() -> None:
    module, optimizer = trained(LOW, 0)
    for value in (256.0, 1.0, 1.0):  # bfloat16 has 8 bits: 256 + 1 + 1 would stay 256
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.collect()
    for weight, parameter in zip(optimizer.weights, optimizer.parameters, strict=True):
        assert parameter.grad is None and weight.grad is not None
        assert weight.grad.dtype == torch.float32 and (weight.grad == 258).all()


@pytest.mark.parametrize("settings", [TRAIN, LOW], ids=["adam", "adamw bfloat16"])
def test_a_state_that_is_loaded_goes_on_with_the_same_bits(settings: TrainSettings) -> None:
    module, optimizer = trained(settings, 3)
    state = {name: value.clone() for name, value in optimizer.state().items()}
    other_module, other = trained(settings, 1, seed=9)
    other.load(state)
    assert other.state().keys() == state.keys() and all(torch.equal(value, state[name]) for name, value in other.state().items())
    for resumed in ((module, optimizer), (other_module, other)):
        step(*resumed, range(3, 6))
    assert all(torch.equal(value, other.state()[name]) for name, value in optimizer.state().items())
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other_module.parameters(), strict=True))


def test_the_moving_average_is_its_formula_with_a_decay_that_grows() -> None:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(31, 4))
    average = MovingAverage({"w": torch.tensor(weights[0])}, 0.7)
    expected = weights[0]
    for number in range(1, 31):
        average.update({"w": torch.tensor(weights[number])}, number)
        decay = min(0.7, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights[number]
    np.testing.assert_allclose(average.average["w"].numpy(), expected, rtol=1e-12)


def test_an_average_of_snapshots_is_their_mean_and_leaves_them_as_they_are() -> None:
    snapshots = [{"w": torch.tensor([value, 2 * value])} for value in (1.0, 2.0, 6.0)]
    assert averaged(snapshots)["w"].tolist() == [3.0, 6.0]
    assert [snapshot["w"].tolist() for snapshot in snapshots] == [[1.0, 2.0], [2.0, 4.0], [6.0, 12.0]]
