"""Executors for the chunks of a corpus: this process, local worker processes, or the workers of a Dask cluster.

All of them return results in the order of the chunks, so the output has the same bytes. They keep only a few chunks in memory.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from textmill.base.errors import UserError
from textmill.base.lifetime import begin_worker

Result = TypeVar("Result")
_WAITING_PER_WORKER = 3


class Executor(Protocol):
    """Applies one function to many chunks."""

    def map(self, function: Callable[..., Result], chunks: Iterable[tuple[Any, ...]], constant: Any) -> Iterator[Result]:
        """Yield function(*chunk, constant) for every chunk, in order. `constant` is sent to each worker only once."""
        ...


class InProcess:
    """Runs in this process, one chunk at a time."""

    def map(self, function: Callable[..., Result], chunks: Iterable[tuple[Any, ...]], constant: Any) -> Iterator[Result]:
        """See Executor."""
        for chunk in chunks:
            yield function(*chunk, constant)


class InProcesses:
    """Runs in local worker processes, a few chunks per worker ahead of the reader.

    The workers communicate through pipes, not over a port: through a port, other users of the machine could run code in them.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, function: Callable[..., Result], chunks: Iterable[tuple[Any, ...]], constant: Any) -> Iterator[Result]:
        """See Executor.

        Raises UserError if a worker process dies.
        """
        spawning = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of Arrow hold and never release
        waiting: deque[Future[Result]] = deque()
        with ProcessPoolExecutor(self._workers, spawning, _start_worker, (constant, os.getpid())) as pool:
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(_apply, function, chunk))
                    if len(waiting) >= _WAITING_PER_WORKER * self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            except BrokenProcessPool:
                raise UserError("a worker process was killed, perhaps because memory ran out. Lower clean.workers and run again.") from None
            finally:
                pool.shutdown(cancel_futures=True)


_worker_constant: Any = None


def _start_worker(constant: Any, parent: int) -> None:
    global _worker_constant
    begin_worker(parent)
    _worker_constant = constant


def _apply(function: Callable[..., Result], chunk: tuple[Any, ...]) -> Result:
    return function(*chunk, _worker_constant)


class OnDask:
    """Runs on the workers of a Dask cluster, a few chunks per worker ahead of the reader."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def map(self, function: Callable[..., Result], chunks: Iterable[tuple[Any, ...]], constant: Any) -> Iterator[Result]:
        """See Executor."""
        shared = self._client.scatter(constant, broadcast=True, hash=False)
        limit = _WAITING_PER_WORKER * len(self._client.scheduler_info(n_workers=-1)["workers"])
        waiting: deque[Any] = deque()
        for chunk in chunks:
            waiting.append(self._client.submit(function, *chunk, shared, pure=False))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def executor(workers: int, scheduler: str) -> Iterator[Executor]:
    """Return the executor for the settings: Dask at the address `scheduler` or, if empty, `workers` local processes.

    Dask workers need textmill and the same packages. The scheduler is trusted: anyone who can reach it can run code in its
    workers, and its answers are unpickled in this process.
    Raises UserError if no scheduler or no worker answers.
    """
    if not scheduler:
        yield InProcess() if workers == 1 else InProcesses(workers)
        return
    from distributed import Client  # imported here because it takes half a second and is rarely needed

    try:
        client = Client(scheduler, timeout=10)
        client.wait_for_workers(1, timeout=30)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"params.yaml: clean.scheduler: no Dask scheduler with workers at {scheduler} ({reason}). Start both, or leave it empty."
        ) from None
    with client:
        yield OnDask(client)
