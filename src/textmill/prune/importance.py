"""The importance of attention heads and feed-forward units, by first-order Taylor expansion of the loss.

The output of every head and unit is multiplied by a gate of 1. Importance is the mean of |dL/dgate| over batches (Michel et al.
2019, equation 2; Molchanov et al. 2019).
Dimensions: B rows, T length, H heads, K head width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from textmill.base.errors import UserError
from textmill.encode.batching import Batch
from textmill.model.attention import Attention
from textmill.model.interface import Seq2SeqModel
from textmill.model.layers import FeedForward
from textmill.tokenizer.special import PAD
from textmill.train.objective import label_smoothed_nll


def importance(model: Seq2SeqModel, batches: list[Batch]) -> dict[str, Tensor]:
    """Measure importance. Returns a tensor per module name: (H,) for every Attention, (F,) for every FeedForward.

    The weights are not changed; the model is set to evaluation mode.
    Raises UserError for an architecture without such modules.
    """
    if not any(isinstance(module, (Attention, FeedForward)) for module in model.modules()):
        raise UserError(
            f"architecture {model.shape.architecture} has no attention heads or feed-forward units to prune."
            " Set model.architecture to encoder_decoder or decoder_only, or stop at `dvc repro evaluate@student`."
        )
    model.eval()
    with _gates(model) as gates:
        totals = {name: torch.zeros_like(gate) for name, gate in gates.items()}
        for batch in batches:
            is_token = batch.target_output != PAD
            logits = model.logits(model(batch.source, batch.target_input)[is_token])
            loss = label_smoothed_nll(logits, batch.target_output[is_token], 0.0)
            for name, gradient in zip(gates, torch.autograd.grad(loss, list(gates.values())), strict=True):
                totals[name] += gradient.abs()
    return {name: total / len(batches) for name, total in totals.items()}


@contextmanager
def _gates(model: Seq2SeqModel) -> Iterator[dict[str, Tensor]]:
    """Put gates before the output projections of all attention and feed-forward modules, and remove them at the end."""
    gates: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            gate = torch.ones(module.num_heads, device=module.output.weight.device, requires_grad=True)
            handles.append(_multiply_input(module.output, gate, module.head_width))
        elif isinstance(module, FeedForward):
            gate = torch.ones(module.down.in_features, device=module.down.weight.device, requires_grad=True)
            handles.append(_multiply_input(module.down, gate, 1))
        else:
            continue
        gates[name] = gate
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


def _multiply_input(linear: nn.Linear, gate: Tensor, repeats: int) -> torch.utils.hooks.RemovableHandle:
    return linear.register_forward_pre_hook(lambda _, inputs: (inputs[0] * gate.repeat_interleave(repeats),))
