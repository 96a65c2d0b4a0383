"""Who does the work on the chunks of a corpus: this process, processes of this machine, or the workers of a cluster.

All of them answer in the order of the chunks and hold only a few at a time, so the result has the same bytes everywhere.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from textmill.errors import UserError

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
    """The executor for these settings: Dask at the address `scheduler`, or `workers` local processes of it, or this process.

    The workers of a scheduler need textmill and the same packages. Raises UserError if no scheduler or no worker answers.
    """
    if workers == 1 and not scheduler:
        yield InProcess()
        return
    from distributed import Client, LocalCluster  # half a second, and only needed here

    if scheduler:
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
        return
    with (
        tempfile.TemporaryDirectory(prefix="textmill-dask-") as folder,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            local_directory=folder,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        yield OnDask(client)
