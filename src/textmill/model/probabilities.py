"""Log probabilities of given tokens. Dimension: V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor


def token_log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the natural-log probability of every target, in float32. logits: (..., V). targets: (...). Returns (...)."""
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    return log_probabilities.gather(-1, targets[..., None]).squeeze(-1)
