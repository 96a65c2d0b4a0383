"""Processes: names that no later one has, signals that ask for an end, and children that do not outlive their parent.

Imports only what is cheap: the first lines of every stage need it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_START_TIME = 19  # of /proc/PID/stat, counted after the name: ticks since boot
_DVC = ("dvc", "textmill.commands.dependent_dvc")


class Stopped(BaseException):
    """A signal asked this process to end. An exception, so that open files are cleaned up and MLflow runs are closed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def end_with_parent(signal_number: int, parent: int | None = None) -> None:
    """Ask the kernel to send this process `signal_number` when its parent dies (Linux; elsewhere nothing happens).

    The parent is the thread that started it: one that ends before its process counts as dead.
    parent: its process id, where it is known; if it died before the call, this process ends at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os._exit(137)


def stop_signals() -> list[signal.Signals]:
    """The signals that ask this process to end: Ctrl-C, SIGTERM and a closed terminal, but none that it was told to ignore (nohup)."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]


def raise_when_stopped() -> None:
    """Turn the first signal that asks for an end into Stopped, and ignore those that follow: the end is on its way."""
    is_ending = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal is_ending
        if is_ending:  # not by SIG_IGN: Python prints a traceback for a signal that came just before that
            return
        is_ending = True
        raise Stopped(number)

    for number in stop_signals():
        signal.signal(number, stop)


def process_key(pid: int) -> str | None:
    """A name that no other process of this machine ever has; None if no process with this number is alive.

    PID-START-BOOT, with the start in the kernel's ticks since boot: unlike a time of day it stays when the clock is set.
    """
    if sys.platform != "linux":
        return _key_by_clock(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":  # killed, and only not yet waited for
        return None
    return f"{pid}-{fields[_START_TIME]}-{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='utf-8')[:8]}"


def is_alive(key: str) -> bool:
    """Is the process with this `process_key` alive? False for a text that is no such key."""
    pid = key.partition("-")[0]
    return pid.isdigit() and process_key(int(pid)) == key


def is_dvc(command: Sequence[str]) -> bool:
    """Does a command line run dvc, by itself or as `textmill.commands.dependent_dvc`?"""
    return any(Path(part).name in _DVC for part in command[:3])


def _key_by_clock(pid: int) -> str | None:
    import psutil

    try:
        return f"{pid}-{psutil.Process(pid).create_time():.0f}-0"
    except psutil.Error:
        return None


def begin_worker(parent: int) -> None:
    """To be called first in a worker process of `parent`: it dies with it, and leaves Ctrl-C, which reaches both, to it."""
    end_with_parent(signal.SIGKILL, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
