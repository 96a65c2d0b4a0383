"""Run dvc as child processes that end, together with their stages, when this process is stopped. See dependent_dvc.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

import psutil

from textmill.base.lifetime import Stopped, end_with_parent, stop_signals
from textmill.commands import dependent_dvc

_SECONDS_TO_END = 6.0  # the supervisor of a stage gives it four seconds
_SECONDS_BETWEEN_LOOKS = 0.5
_MAKE = ("make", "gmake", "gnumake")


class DvcRuns:
    """Run dvc, also several times in parallel from threads. Create it in the main thread, because it installs signal handlers."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped_by = 0
        self._listen()

    def __call__(self, *arguments: str) -> int:
        """Run `dvc ARGUMENTS` and return its exit code. Raises Stopped after a stop signal."""
        self._raise_if_stopped()
        environment = {**os.environ, dependent_dvc.PARENT: str(os.getpid())}
        process = subprocess.Popen([sys.executable, "-m", dependent_dvc.__name__, *arguments], env=environment)
        self._running.add(process)
        if self._stopped_by:  # the signal came between the two lines above
            process.terminate()
        code = self._wait_for(process)
        self._running.discard(process)
        self._raise_if_stopped()
        if code == -signal.SIGKILL:
            print(
                "dvc was killed (signal 9): most likely the machine ran out of memory. Close other programs and run again.", file=sys.stderr
            )
        return code

    @staticmethod
    def _wait_for(process: subprocess.Popen[bytes]) -> int:
        while True:  # with a timeout: otherwise a signal just before wait() would be handled only after dvc has ended
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_SECONDS_BETWEEN_LOOKS)

    def _raise_if_stopped(self) -> None:
        if self._stopped_by:
            raise Stopped(self._stopped_by)

    def _listen(self) -> None:
        for number in stop_signals():
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        parent = psutil.Process().parent()
        if parent is not None and parent.name() in _MAKE:  # not for a shell, because `nohup ... &` outlives it
            end_with_parent(signal.SIGTERM, parent.pid)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if not self._stopped_by:
            self._stopped_by = number
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_END)
        for process in list(self._running):
            process.terminate()

    def _kill(self, *_: object) -> None:
        for process in list(self._running):
            process.kill()
