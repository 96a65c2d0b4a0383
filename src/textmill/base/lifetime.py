"""Unique names for processes, stop signals, and child processes that end with their parent.

Only cheap imports are allowed here: every stage loads this module first.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
# Indices in /proc/PID/stat, counted from the field after the name. The unit of the start time is ticks since boot.
_PARENT, _START_TIME = 1, 19
_DVC = ("dvc", "textmill.commands.dependent_dvc")


class Stopped(BaseException):
    """Raised when a signal asks this process to stop. As an exception it lets files be cleaned up and MLflow runs be closed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def end_with_parent(signal_number: int, parent: int | None = None) -> None:
    """Ask the kernel to send `signal_number` to this process when its parent dies. Linux only; elsewhere a no-op.

    To the kernel, the parent is the thread that started this process: the signal is also sent when only that thread ends.
    parent: process id of the parent, if known. If it died before this call, this process exits at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os._exit(137)


def stop_signals() -> list[signal.Signals]:
    """Return the signals that stop this process: SIGINT (Ctrl-C), SIGTERM and SIGHUP, except those it ignores (nohup)."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]


def raise_when_stopped() -> None:
    """Raise Stopped on the first stop signal and ignore later ones, because the process is already stopping."""
    is_ending = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal is_ending
        if is_ending:  # not with SIG_IGN: Python prints a traceback for a signal that arrives just before the handler changes
            return
        is_ending = True
        raise Stopped(number)

    for number in stop_signals():
        signal.signal(number, stop)


def process_key(pid: int) -> str | None:
    """Return a name that no other process on this machine ever has, or None if no process with this id is alive.

    The name is PID-START-BOOT. START is in kernel ticks since boot, which do not change when the clock is set.
    """
    if sys.platform != "linux":
        return _key_by_clock(pid)
    try:
        fields = _stat(pid)
    except OSError:
        return None
    if fields[0] in "ZX":  # zombie: it has ended, but its parent has not waited for it yet
        return None
    return f"{pid}-{fields[_START_TIME]}-{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='utf-8')[:8]}"


def is_alive(key: str) -> bool:
    """Return whether the process with this `process_key` is alive; False if `key` is not a process key."""
    pid = key.partition("-")[0]
    return pid.isdigit() and process_key(int(pid)) == key


def with_ancestors(pid: int) -> Iterator[tuple[int, list[str]]]:
    """Yield a process and its ancestors, nearest first: process id and command line, which is empty if it cannot be read."""
    if sys.platform != "linux":
        yield from _with_ancestors_by_psutil(pid)
        return
    while pid > 0:
        command, parent = [], 0
        with suppress(OSError):
            command = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
        with suppress(OSError):
            parent = int(_stat(pid)[_PARENT])
        yield pid, command
        pid = parent


def is_dvc(command: Sequence[str]) -> bool:
    """Return whether a command line runs dvc, directly or through `textmill.commands.dependent_dvc`."""
    return any(Path(part).name in _DVC for part in command[:3])


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _with_ancestors_by_psutil(pid: int) -> Iterator[tuple[int, list[str]]]:
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.parents()):
            command: list[str] = []
            with suppress(psutil.Error):
                command = each.cmdline()
            yield each.pid, command


def _key_by_clock(pid: int) -> str | None:
    import psutil

    try:
        return f"{pid}-{psutil.Process(pid).create_time():.0f}-0"
    except psutil.Error:
        return None


def begin_worker(parent: int) -> None:
    """Set up a worker process; call it first. The worker dies with `parent` and ignores Ctrl-C, which the parent handles."""
    end_with_parent(signal.SIGKILL, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
