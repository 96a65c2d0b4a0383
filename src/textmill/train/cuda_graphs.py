"""A training step as CUDA graphs: recorded once per batch shape, then replayed with one launch per graph.

A step of a small model is about a thousand kernels that run for microseconds each, so launching them takes longer than running them.
A graph uses fixed memory addresses: batches are copied into buffers, and gradients and learning rate keep their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from textmill.encode.batching import Batch, padded_to_bucket

Result = TypeVar("Result")
Shape = tuple[int, int, int]  # rows, source length, target length


class _Buffers:
    """A batch and its number of target tokens on the device, as views of one tensor, so that one copy fills them."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        rows, source_length, target_length = shape
        sizes = [rows * source_length, rows * target_length, rows * target_length, 1]
        self._flat = torch.zeros(sum(sizes), dtype=torch.int64, device=device)
        source, target_input, target_output, count = torch.split(self._flat, sizes)
        sides = source.view(rows, -1), target_input.view(rows, -1), target_output.view(rows, -1)
        self.batch, self.count = Batch(*sides, indices=target_output), count[0]  # indices: not used with graphs

    def fill(self, batch: Batch, count: int) -> None:
        parts = batch.source, batch.target_input, batch.target_output, torch.tensor([count])
        self._flat.copy_(torch.cat([part.flatten() for part in parts]), non_blocking=True)


class StepGraphs:
    """Record and replay the two halves of a training step.

    backward: function that adds the gradients of a batch and returns its loss. It gets the target tokens of the whole step as a tensor.
    update: function that applies the gradients and clears them.
    Each function runs once normally before it is recorded. Recording executes nothing. A replay gives the same bytes as a normal
    run, random masks included.
    """

    def __init__(self, backward: Callable[[Batch, Tensor], Tensor], update: Callable[[], None], device: torch.device) -> None:
        self._backward, self._update, self._device = backward, update, device
        self._backwards: dict[Shape, tuple[_Buffers, Callable[[], Tensor]]] = {}
        self._replay_update: Callable[[], None] | None = None
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Run the body on a separate stream, because the default stream cannot be recorded."""
        if self._device.type != "cuda":
            yield
            return
        outer, own = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        own.wait_stream(outer)
        with torch.cuda.stream(own):
            yield
        outer.wait_stream(own)

    def backward(self, batch: Batch, count: int) -> Tensor:
        """Add the gradients of a batch. Returns its loss, which is valid until the next call.

        batch: on the CPU.
        count: target tokens of the whole step.
        """
        batch = padded_to_bucket(batch)
        shape = (*batch.source.shape, batch.target_input.shape[1])
        if shape in self._backwards:
            buffers, replay = self._backwards[shape]
            buffers.fill(batch, count)
            return replay()
        buffers = _Buffers(shape, self._device)
        buffers.fill(batch, count)
        loss = self._backward(buffers.batch, buffers.count)
        self._backwards[shape] = buffers, _recorded(lambda: self._backward(buffers.batch, buffers.count), self._pool)
        return loss

    def update(self) -> None:
        """Apply the accumulated gradients."""
        if self._replay_update is not None:
            self._replay_update()
            return
        self._update()
        self._replay_update = _recorded(self._update, self._pool)


def _recorded(function: Callable[[], Result], pool: Any) -> Callable[[], Result]:
    """Record the kernels that `function` launches on the current stream. Returns a replay function, whose result keeps its address."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    # torch.cuda.graph() would also collect garbage and empty the cache, which takes longer than the recording.
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        result = function()
    finally:
        graph.capture_end()

    def replay() -> Result:
        graph.replay()
        return result

    return replay
