"""Weight averaging: the mean over the last validations (Vaswani et al. 2017, section 6.1) and a moving average over all steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def averaged(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average each tensor over the snapshots, summed in their order. All snapshots have the same names and shapes."""
    mean = {name: tensor.clone() for name, tensor in snapshots[0].items()}
    for snapshot in snapshots[1:]:
        for name, tensor in snapshot.items():
            mean[name] += tensor
    return {name: tensor / len(snapshots) for name, tensor in mean.items()}


class MovingAverage:
    """Exponential moving average of weights (Polyak & Juditsky 1992): average = decay * average + (1 - decay) * weights.

    It is updated after every step. The decay used is min(decay, (1 + step) / (10 + step)), as in TensorFlow's
    ExponentialMovingAverage, so that the initial weights soon lose their influence.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.average = {name: weight.clone() for name, weight in weights.items()}
        self.decay = decay

    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Include the weights after a step. step: counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), [weights[name] for name in self.average], 1 - decay)
