"""Run dvc so that it ends when its parent process ends: python -m textmill.commands.dependent_dvc ARGUMENTS

Stages end with their dvc (src/textmill/pipeline/supervisor.py), so no process keeps running when a search or a rebuild is killed.
SIGTERM and Ctrl-C end the stage first, and then dvc. They never interrupt dvc while it writes one of its own files, because later
dvc processes could not read a file that is cut short.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import psutil

from textmill.base.lifetime import end_with_parent

PARENT = "TEXTMILL_PARENT_PROCESS"  # environment variable with the process id of the parent
INTERRUPTED = 252  # dvc's exit code for Ctrl-C
_SIGNALS = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)
_SECONDS_TO_NEXT_TRY, _SECONDS_TO_NEXT_LOOK = 0.02, 0.2
_is_interrupted = False  # once is enough
_has_ended = False  # a later signal changes nothing. Not by SIG_IGN: Python reports a signal that came just before that
_WRITERS = ("dvc.rwlock", "dvc.dvcfile", "dvc.utils.serialize")  # modules of dvc that write files in place


def main() -> int:
    global _has_ended
    end_with_parent(signal.SIGKILL, int(os.environ.pop(PARENT)))
    for number in _SIGNALS:
        signal.signal(number, _stop)
    sys.unraisablehook = _hide_own_interrupt
    try:
        from dvc.cli import main as dvc  # here and not above: the import takes a second, in which the parent may die

        code = int(dvc(sys.argv[1:]))
        _has_ended = True
    except KeyboardInterrupt:  # at a point where dvc does not catch it
        code = INTERRUPTED
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # while Python takes itself down, it has no handlers
    return code


def _stop(_: int, frame: FrameType | None) -> None:
    """Terminate the running stage and try again soon, or interrupt dvc if no stage runs and dvc is not writing.

    dvc ignores SIGINT while a stage runs, but not yet when it has just started one. So stages are terminated in any case.
    Python drops an exception in a destructor. If that happens to the interrupt, dvc goes on: its next stage is terminated.
    """
    global _is_interrupted
    if _has_ended:
        return
    for stage in psutil.Process().children():
        with suppress(psutil.Error):
            stage.terminate()
    if _is_interrupted:
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_NEXT_LOOK)
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN or _writes(frame):
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_NEXT_TRY)
        return
    _is_interrupted = True
    signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_NEXT_LOOK)
    raise KeyboardInterrupt


def _hide_own_interrupt(dropped: Any) -> None:
    """Say nothing of an interrupt of `_stop` that Python drops in a destructor: the next try comes by itself."""
    if not (_is_interrupted and issubclass(dropped.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(dropped)


def _writes(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_WRITERS):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    sys.exit(main())
