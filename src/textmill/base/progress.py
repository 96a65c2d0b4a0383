"""Show the progress of long steps: a bar on a terminal, an occasional plain line in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 15.0


class Progress:
    """Counts up to `total`. Use it as a context manager and call `advance`.

    On a terminal it is a tqdm bar. Elsewhere it prints at most one line every 15 seconds, and one line at the end of a step
    that took longer. Each line has done/total, the rate and the remaining time.

    unit: plural noun, such as `pairs`. done: count to start from.
    """

    def __init__(self, description: str, total: int, unit: str, done: int = 0) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._started_with = self._done = done
        self._started = self._last_line = time.monotonic()
        self._extra = ""
        self._bar = tqdm(total=total, initial=done, desc=description, unit=unit, leave=False) if sys.stderr.isatty() else None

    def advance(self, count: int = 1, **extra: str) -> None:
        """Count `count` more units as done; `extra` is shown after the count, by name."""
        self._done += count
        if extra:
            self._extra = "".join(f", {name} {value}" for name, value in extra.items())
        if self._bar is not None:
            self._bar.update(count)
            if extra:
                self._bar.set_postfix(extra)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LOG_LINES:
            self._print_line()

    def _print_line(self) -> None:
        now = time.monotonic()
        rate = (self._done - self._started_with) / max(now - self._started, 1e-9)
        left = tqdm.format_interval(max(self._total - self._done, 0) / rate) if rate else "?"
        print(
            f"{self._description}: {self._done}/{self._total} {self._unit}, {rate:,.1f} {self._unit}/s, {left} left{self._extra}",
            file=sys.stderr,
            flush=True,
        )
        self._last_line = now

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        elif time.monotonic() - self._started >= _SECONDS_BETWEEN_LOG_LINES:
            self._print_line()
