"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(signal_number: int, parent: int | None = None) -> None:
    """Ask the kernel to send this process `signal_number` when its parent dies (Linux; elsewhere nothing happens).

    parent: its process id, where it is known; if it died before the call, this process ends at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os._exit(137)
