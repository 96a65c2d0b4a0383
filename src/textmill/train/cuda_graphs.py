"""A training step as CUDA graphs: recorded once per shape of a batch, then replayed by one launch each.

A step of a small model is a thousand kernels that each run for microseconds, and launching them takes longer than running them.
A graph has fixed places in memory: batches are copied into buffers, and gradients and learning rate stay where they are.
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
    """A batch and its number of target tokens on the device, as views of one tensor: a new batch is one copy."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        rows, source_length, target_length = shape
        sizes = [rows * source_length, rows * target_length, rows * target_length, 1]
        self._flat = torch.zeros(sum(sizes), dtype=torch.int64, device=device)
        source, target_input, target_output, count = torch.split(self._flat, sizes)
        sides = source.view(rows, -1), target_input.view(rows, -1), target_output.view(rows, -1)
        self.batch, self.count = Batch(*sides, indices=target_output), count[0]  # indices: not used where graphs are

    def fill(self, batch: Batch, count: int) -> None:
        parts = batch.source, batch.target_input, batch.target_output, torch.tensor([count])
        self._flat.copy_(torch.cat([part.flatten() for part in parts]), non_blocking=True)


class StepGraphs:
    """The two halves of a step, replayed.

    backward: adds the gradients of a batch, given the number of target tokens of the whole step as a tensor, and returns its loss.
    update: takes a step with the gradients and clears them. Both run once for real before they are recorded; recording runs nothing,
    and a replay gives the bytes that a run would have given, random masks included.
    """

    def __init__(self, backward: Callable[[Batch, Tensor], Tensor], update: Callable[[], None], device: torch.device) -> None:
        self._backward, self._update, self._device = backward, update, device
        self._backwards: dict[Shape, tuple[_Buffers, Callable[[], Tensor]]] = {}
        self._replay_update: Callable[[], None] | None = None
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Within the body everything runs on a stream of its own: the default one cannot be recorded."""
        if self._device.type != "cuda":
            yield
            return
        outer, own = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        own.wait_stream(outer)
        with torch.cuda.stream(own):
            yield
        outer.wait_stream(own)

    def backward(self, batch: Batch, count: int) -> Tensor:
        """Add the gradients of `batch`, on the CPU, of a step with `count` target tokens. Returns its loss, until the next call."""
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
        """Take a step with the gradients that were added up."""
        if self._replay_update is not None:
            self._replay_update()
            return
        self._update()
        self._replay_update = _recorded(self._update, self._pool)


def _recorded(function: Callable[[], Result], pool: Any) -> Callable[[], Result]:
    """Record what `function` launches on the current stream. Returns a replay of it, whose result is always at the same place."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    # Not torch.cuda.graph(): it collects garbage and empties the cache, which takes longer than the recording.
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        result = function()
    finally:
        graph.capture_end()

    def replay() -> Result:
        graph.replay()
        return result

    return replay
