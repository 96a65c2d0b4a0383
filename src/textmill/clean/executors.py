"""Who does the work on the chunks of a corpus: this process, processes of this machine, or the workers of a cluster.

All of them answer in the order of the chunks and hold only a few at a time, so the result has the same bytes everywhere.
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
        """function(*chunk, constant) of every chunk, in order. Both travel to the workers; `constant` once only."""
        ...


class InProcess:
    """One chunk after the other, here."""

    def map(self, function: Callable[..., Result], chunks: Iterable[tuple[Any, ...]], constant: Any) -> Iterator[Result]:
        """See Executor."""
        for chunk in chunks:
            yield function(*chunk, constant)


class InProcesses:
    """In processes of this machine, a few chunks per process ahead of the reader.

    They are spoken to through pipes: a scheduler with a port would run whatever another user of the machine sends it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, function: Callable[..., Result], chunks: Iterable[tuple[Any, ...]], constant: Any) -> Iterator[Result]:
        """See Executor. Raises UserError if a process dies."""
        spawning = multiprocessing.get_context("spawn")  # a fork copies the locks of Arrow's threads, locked for ever
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
    """On the workers of a Dask cluster, a few chunks a worker ahead of the reader."""

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
    """The executor for these settings: Dask at the address `scheduler`, or `workers` processes of this machine, or this process.

    The workers of a scheduler need textmill and the same packages. Its address is trusted: it and whoever else can reach it run
    code in the workers, and what it answers is unpickled here. Raises UserError if no scheduler or no worker answers.
    """
    if not scheduler:
        yield InProcess() if workers == 1 else InProcesses(workers)
        return
    from distributed import Client  # half a second, and only needed here

    try:
        client = Client(scheduler, timeout=10)
        client.wait_for_workers(1, timeout=30)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"params.yaml: clean.scheduler: nobody to work at {scheduler} ({reason}). Start it and its workers, or empty it."
        ) from None
    with client:
        yield OnDask(client)
