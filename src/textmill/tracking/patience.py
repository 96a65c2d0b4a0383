"""How long a process waits for a tracking server, in all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_SHARE = 0.05  # of the time since the first call: a training of many hours sends its curve for as long


class Patience:
    """Calls that may wait for a network, and one deadline for all of them together.

    Timeouts of sockets do not make one: each byte that a server sends starts them again.
    """

    def __init__(self, seconds: float) -> None:
        """seconds: that calls may take in all, besides 5 % of the time since now."""
        self._seconds, self._waited, self._started = seconds, 0.0, time.monotonic()

    def call(self, action: Callable[[], T]) -> T:
        """What `action` returns or raises. Raises TimeoutError at the deadline: a thread that nobody waits for is left with the action."""
        results: list[T] = []
        errors: list[BaseException] = []

        def act() -> None:
            try:
                results.append(action())
            except BaseException as error:
                errors.append(error)

        begun = time.monotonic()
        left = self._seconds + _SHARE * (begun - self._started) - self._waited
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        thread.join(max(left, 0.0))
        self._waited += time.monotonic() - begun
        if errors:
            raise errors[0]
        if not results:
            raise TimeoutError(f"no whole answer within {self._seconds:g} s")
        return results[0]
