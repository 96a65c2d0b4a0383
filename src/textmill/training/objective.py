"""What is minimized.

Dimensions: N target tokens without padding, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def label_smoothed_nll(logits: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    """Mean cross entropy against targets smoothed towards uniform.

    logits: (N, V), any float type, computed in float32. targets: (N,), padding already removed.
    Returns a scalar in nats per token. Szegedy et al. 2016, section 7.
    """
    return F.cross_entropy(logits.float(), targets, label_smoothing=epsilon)
