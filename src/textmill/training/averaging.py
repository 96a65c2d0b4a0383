"""Averages of weights over the last validations (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

from torch import Tensor


def averaged(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of every tensor over `snapshots`, which hold the same names and shapes; summed in their order."""
    mean = {name: tensor.clone() for name, tensor in snapshots[0].items()}
    for snapshot in snapshots[1:]:
        for name, tensor in snapshot.items():
            mean[name] += tensor
    return {name: tensor / len(snapshots) for name, tensor in mean.items()}
