"""The training loss: label-smoothed cross entropy, with the consistency term of R-Drop.

Dimensions: B rows, T target length, N target tokens without padding, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textmill.encode.batching import Batch
from textmill.model.interface import Seq2SeqModel
from textmill.model.probabilities import token_log_probabilities
from textmill.tokenizer.special import PAD

_CHUNK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 29}  # float32 logits per chunk; on a CPU a chunk fits in the cache
_FUSED_DEVICES = ("cuda",)  # there the loss of a chunk is a pure function, which torch.compile turns into a few kernels

LossOfChunk = Callable[[Sequence[Tensor], Tensor], tuple[Tensor, list[Tensor]]]  # logits of each pass, targets -> loss, gradients


def label_smoothed_nll(logits: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    """Compute the mean cross entropy with label smoothing (Szegedy et al. 2016, section 7).

    logits: (N, V), any float type; computed in float32.
    targets: (N,), without padding.
    Returns a scalar in nats per token.
    """
    return F.cross_entropy(logits.float(), targets, label_smoothing=epsilon)


def projected_nll(states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, epsilon: float, denominator: float) -> Tensor:
    """Compute the output projection and `label_smoothed_nll` in chunks, so that the logits never are in memory all at once.

    states: (N, D). weight: (V, D). bias: (V,). targets: (N,).
    The loss is summed and divided by `denominator`. The gradients are computed in the same chunks, with logits in float32
    (Hsu et al. 2024, section 3.2).
    """
    return _ProjectedNll.apply(states, weight, bias, targets, epsilon, denominator)  # type: ignore[no-any-return, no-untyped-call]


def projected_r_drop(
    states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, epsilon: float, r_drop: float, denominator: float
) -> Tensor:
    """Compute `projected_nll` for two passes over the same batch: the mean of the two losses plus the R-Drop term.

    states: (2N, D), the first pass, then the second.
    targets: (N,).
    r_drop: weight of (KL(p1 || p2) + KL(p2 || p1)) / 2, summed over tokens.
    """
    return _ProjectedRDrop.apply(states, weight, bias, targets, epsilon, r_drop, denominator)  # type: ignore[no-any-return, no-untyped-call]


def fused_loss(
    states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, denominator: Tensor | float, passes: int, of_chunk: LossOfChunk
) -> Tensor:
    """Compute the loss of one or two passes over the same targets, in chunks, divided by `passes * denominator`.

    states: (passes * N, D). weight: (V, D). bias: (V,).
    targets: (N,). PAD adds nothing to the loss.
    of_chunk: `smoothed_nll_of_chunk` or `r_drop_of_chunk` with epsilon and r_drop bound.
    No shape depends on which targets are PAD, so CUDA graphs can record it.
    """
    return _FusedLoss.apply(states, weight, bias, targets, denominator, passes, of_chunk)  # type: ignore[no-any-return, no-untyped-call]


def smoothed_nll_of_chunk(logits: Sequence[Tensor], targets: Tensor, epsilon: float) -> tuple[Tensor, list[Tensor]]:
    """Compute the summed label-smoothed cross entropy and its gradient with respect to the logits.

    logits: one tensor (rows, V).
    targets: (rows,). PAD adds nothing.
    Returns a float32 scalar, and a list with one gradient (rows, V) in the dtype of the logits.
    """
    (only,) = logits
    log_probabilities = torch.log_softmax(only.float(), 1)
    loss, wanted = _smoothed(log_probabilities, targets, epsilon)
    gradient = (log_probabilities.exp() - wanted) * (targets != PAD)[:, None]
    return loss, [gradient.to(only.dtype)]


def r_drop_of_chunk(logits: Sequence[Tensor], targets: Tensor, epsilon: float, r_drop: float) -> tuple[Tensor, list[Tensor]]:
    """Compute `smoothed_nll_of_chunk` summed over both passes, plus r_drop * (KL(p || q) + KL(q || p)), and the gradients.

    logits: two tensors (rows, V).
    The gradient of KL(p || q) + KL(q || p) with respect to the logits of p is p (log p - log q - KL(p || q)) + p - q.
    """
    logs = [torch.log_softmax(each.float(), 1) for each in logits]
    probabilities = [each.exp() for each in logs]
    is_real = (targets != PAD)[:, None]
    total, gradients = torch.zeros((), device=targets.device), []
    for own, other in ((0, 1), (1, 0)):
        loss, wanted = _smoothed(logs[own], targets, epsilon)
        difference = logs[own] - logs[other]
        divergence = (probabilities[own] * difference).sum(1, keepdim=True)  # KL(own || other), (rows, 1)
        total = total + loss + r_drop * (divergence * is_real).sum()
        apart = probabilities[own] * (difference - divergence + 1) - probabilities[other]
        gradients.append(((probabilities[own] - wanted + r_drop * apart) * is_real).to(logits[own].dtype))
    return total, gradients


def _smoothed(log_probabilities: Tensor, targets: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return the label-smoothed cross entropy, summed over targets that are not PAD, and the smoothed targets (rows, V)."""
    vocabulary = log_probabilities.shape[1]
    uniform = epsilon / vocabulary
    wanted = (torch.arange(vocabulary, device=targets.device) == targets[:, None]) * (1 - epsilon) + uniform
    at_target = log_probabilities.gather(1, targets[:, None])[:, 0]  # (rows,)
    losses = (1 - epsilon) * at_target + uniform * log_probabilities.sum(1)
    return -(losses * (targets != PAD)).sum(), wanted


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


class _ProjectedLoss(torch.autograd.Function):
    """A loss whose forward pass also computes the gradients of states, weight and bias. `backward` divides them by `denominator`."""

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        factor = outer[0] / ctx.denominator
        states_gradient, weight_gradient, bias_gradient = (gradient.mul_(factor) for gradient in ctx.saved_tensors)
        others = [None] * (len(ctx.needs_input_grad) - 3)
        return states_gradient, weight_gradient.to(ctx.dtype), bias_gradient.to(ctx.dtype), *others


class _ProjectedNll(_ProjectedLoss):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, epsilon: float, denominator: float) -> Tensor:
        uniform = epsilon / weight.shape[0]
        states_gradient = torch.empty_like(states)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32)
        total = torch.zeros((), device=states.device)
        # d loss / d logits = softmax - (1 - epsilon) at the target - uniform. The last term is constant, so it is added at the end.
        shift = weight.sum(0, dtype=torch.float32).mul_(-uniform).to(states.dtype)  # (D,)
        parts = _chunks(states, weight)
        # One buffer for all chunks: on a CPU, allocating new memory would be much slower.
        rows = parts[0].stop if parts else 0  # with several processes, one may have no token of a small batch
        room = states.new_empty(rows, len(weight)), states.new_empty(rows, len(weight), dtype=torch.float32)
        for part in parts:
            chunk, wanted = states[part], targets[part, None]
            logits, log_probabilities = (each[: len(chunk)] for each in room)
            torch.addmm(bias, chunk, weight.t(), out=logits)  # (rows, V)
            torch.log_softmax(logits, 1, dtype=torch.float32, out=log_probabilities)
            total -= (1 - epsilon) * log_probabilities.gather(1, wanted).sum() + uniform * log_probabilities.sum()
            gradient = log_probabilities.exp_()
            gradient.scatter_add_(1, wanted, torch.full_like(wanted, epsilon - 1, dtype=gradient.dtype))
            bias_gradient += gradient.sum(0)
            low = gradient.to(states.dtype)
            torch.addmm(shift, low, weight, out=states_gradient[part])
            if low.dtype == torch.float32:
                torch.addmm(weight_gradient, low.t(), chunk, out=weight_gradient)
            else:
                weight_gradient += low.t() @ chunk
        weight_gradient -= states.sum(0, dtype=torch.float32).mul_(uniform)
        bias_gradient -= uniform * len(states)
        ctx.save_for_backward(states_gradient, weight_gradient, bias_gradient)
        ctx.denominator, ctx.dtype = denominator, weight.dtype
        return total / denominator


class _ProjectedRDrop(_ProjectedLoss):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, epsilon: float, r_drop: float, denominator: float
    ) -> Tensor:
        uniform = epsilon / weight.shape[0]
        states_gradient = torch.empty_like(states)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32)
        total = torch.zeros((), device=states.device)
        shift = weight.sum(0, dtype=torch.float32).mul_(-uniform).to(states.dtype)  # (D,), as in _ProjectedNll
        passes, gradients = states.chunk(2), states_gradient.chunk(2)
        parts = _chunks(passes[0], weight, 2)
        rows = parts[0].stop if parts else 0
        low_room = states.new_empty(rows, len(weight))
        rooms = [states.new_empty(rows, len(weight), dtype=torch.float32) for _ in range(4)]
        for part in parts:
            wanted = targets[part, None]
            low, first, second, difference, gradient = (room[: len(wanted)] for room in (low_room, *rooms))
            for each, logs in zip(passes, (first, second), strict=True):
                torch.addmm(bias, each[part], weight.t(), out=low)
                torch.log_softmax(low, 1, dtype=torch.float32, out=logs)
                total -= (1 - epsilon) * logs.gather(1, wanted).sum() + uniform * logs.sum()
            torch.sub(first, second, out=difference).mul_(r_drop)
            first.exp_()
            second.exp_()
            for own, other, each, each_gradient in zip((first, second), (second, first), passes, gradients, strict=True):
                # d (KL(p || q) + KL(q || p)) / d logits of p = p (log p - log q - KL(p || q)) + p - q; then p and q are swapped
                torch.mul(own, difference, out=gradient)
                divergence = gradient.sum(1, keepdim=True)  # r_drop * KL(own || other)
                total += divergence.sum()
                gradient.addcmul_(own, 1 + r_drop - divergence).sub_(other, alpha=r_drop)
                gradient.scatter_add_(1, wanted, torch.full_like(wanted, epsilon - 1, dtype=gradient.dtype))
                bias_gradient += gradient.sum(0)
                low.copy_(gradient)
                torch.addmm(shift, low, weight, out=each_gradient[part])
                if low.dtype == torch.float32:
                    torch.addmm(weight_gradient, low.t(), each[part], out=weight_gradient)
                else:
                    weight_gradient += low.t() @ each[part]
                difference.neg_()
        weight_gradient -= states.sum(0, dtype=torch.float32).mul_(uniform)
        bias_gradient -= uniform * len(states)
        ctx.save_for_backward(states_gradient, weight_gradient, bias_gradient)
        ctx.denominator, ctx.dtype = 2 * denominator, weight.dtype
        return total / (2 * denominator)


class _FusedLoss(_ProjectedLoss):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        denominator: Tensor | float,
        passes: int,
        of_chunk: LossOfChunk,
    ) -> Tensor:
        states_gradient = torch.empty_like(states)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32)
        total = torch.zeros((), device=states.device)
        inputs, outputs = states.chunk(passes), states_gradient.chunk(passes)
        for part in _chunks(inputs[0], weight, passes):
            loss, gradients = of_chunk([torch.addmm(bias, each[part], weight.t()) for each in inputs], targets[part])
            total += loss
            for each, output, gradient in zip(inputs, outputs, gradients, strict=True):
                torch.mm(gradient, weight, out=output[part])
                weight_gradient += gradient.t() @ each[part]
                bias_gradient += gradient.sum(0, dtype=torch.float32)
        ctx.save_for_backward(states_gradient, weight_gradient, bias_gradient)
        ctx.denominator, ctx.dtype = passes * denominator, weight.dtype
        return total / (passes * denominator)


def _chunks(states: Tensor, weight: Tensor, passes: int = 1) -> list[slice]:
    """Split the rows of `states` into chunks whose logits, over all passes, take about _CHUNK_BYTES."""
    rows = max(_CHUNK_BYTES[states.device.type] // (4 * passes * len(weight)), 16)
    return [slice(start, min(start + rows, len(states))) for start in range(0, len(states), rows)]


class Objective(nn.Module):
    """The model and its loss as one module, so that DDP and FSDP can wrap both.

    label_smoothing: epsilon of `label_smoothed_nll`.
    r_drop: weight of the R-Drop term, which compares two passes with different dropout masks (Liang et al. 2021, section 2.2):
        loss = mean of the two cross entropies + r_drop / 2 * (KL(p1 || p2) + KL(p2 || p1)).
        The paper adds the two cross entropies instead of averaging them, so its alpha is 2 * r_drop, and its loss is twice as large.
    is_compiled: compile the loss on a GPU.
    """

    def __init__(self, model: Seq2SeqModel, label_smoothing: float, r_drop: float, is_compiled: bool = False) -> None:
        super().__init__()
        self.model, self.label_smoothing, self.r_drop, self.is_compiled = model, label_smoothing, r_drop, is_compiled

    def forward(self, batch: Batch, denominator: Tensor | float) -> Tensor:
        """Compute the loss, summed over the target tokens of the batch and divided by `denominator`, the target tokens of the whole step.

        In evaluation mode, the loss is the cross entropy without label smoothing, in float64.
        """
        if not self.model.training:
            states, targets = batch.real_positions(self.model(batch.source, batch.target_input)), batch.targets()  # (N, D), (N,)
            total = torch.zeros((), dtype=torch.float64, device=states.device)
            for part in _chunks(states, self.model.output_projection()[0]):
                total -= token_log_probabilities(self.model.logits(states[part]), targets[part]).double().sum()
            return total / denominator
        passes = 2 if self.r_drop else 1
        source, target_input = (torch.cat([side] * passes) if passes > 1 else side for side in (batch.source, batch.target_input))
        states = self.model(source, target_input)  # (passes * B, T, D)
        if states.device.type in _FUSED_DEVICES:
            return self._fused(states.flatten(0, 1), batch.target_output.flatten(), denominator, passes)
        assert isinstance(denominator, (int, float))
        real = [batch.real_positions(half) for half in states.chunk(passes)]  # (N, D) each, without padding
        projection, targets = self.model.output_projection(), batch.targets()
        if passes == 1:
            return projected_nll(real[0], *projection, targets, self.label_smoothing, denominator)
        return projected_r_drop(torch.cat(real), *projection, targets, self.label_smoothing, self.r_drop, denominator)

    def _fused(self, states: Tensor, targets: Tensor, denominator: Tensor | float, passes: int) -> Tensor:
        """states: (passes * B * T, D). targets: (B * T,)."""
        function: Callable[..., Any] = smoothed_nll_of_chunk if passes == 1 else r_drop_of_chunk
        numbers = {"epsilon": self.label_smoothing} | ({} if passes == 1 else {"r_drop": self.r_drop})
        of_chunk = partial(_compiled(function) if self.is_compiled else function, **numbers)
        return fused_loss(states, *self.model.output_projection(), targets, denominator, passes, of_chunk)
