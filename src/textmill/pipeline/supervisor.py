"""The process that waits for a stage's own: whatever ends the stage, its MLflow run is closed and nothing of it goes on.

dvc -> this process -> the stage. A signal that asks for an end, or the death of dvc, becomes SIGTERM for the stage, which
closes its run and exits; SIGKILL follows where it does not. The stage dies with this process.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from textmill.base.lifetime import end_with_parent, stop_signals

_SECONDS_TO_END = 4.0
_IN_TRAINING = "{0}.batch_tokens (with a higher {0}.accumulate the result stays about the same), or the sizes in model"
# By stage: the settings that lower the need for memory.
MEMORY = {
    "clean": "clean.workers or clean.evidence_rows",
    "tokenizer": "tokenizer.vocabulary_size",
    "back_translate": _IN_TRAINING.format("back_translate.train") + ", or back_translate.beam_size",
    "train": _IN_TRAINING.format("train") + ", and train fewer folds side by side (JOBS=1)",
    "distill": _IN_TRAINING.format("distill.train") + ", or distill.beam_size or decode.batch_size",
    "prune": _IN_TRAINING.format("prune.fine_tune"),
    "export": "export.parity_sentences or decode.batch_size",
    "evaluate": "decode.batch_size or decode.beam_size",
    "evaluate-ensemble": "decode.batch_size or decode.beam_size",
    "evaluate-exported": "decode.batch_size or decode.beam_size",
    "report": "evaluate.bootstrap_samples",
}


def go_on_supervised(stage: str) -> None:
    """Return in a child process; this one waits for it, and exits as it did."""
    dvc, supervisor = os.getppid(), os.getpid()
    if _is_orphan(dvc):
        os._exit(137)
    asked = stop_signals()
    awaited = [signal.SIGCHLD, signal.SIGALRM, *asked]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        end_with_parent(signal.SIGKILL, supervisor)
        for number in asked:  # until the runner listens there is nothing to close, and Python would show where it was
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        return
    end_with_parent(signal.SIGTERM, dvc)
    _wait(child, awaited, stage)


def _wait(child: int, awaited: list[signal.Signals], stage: str) -> NoReturn:
    """Take the signals one by one. A handler would miss one that comes just before this process begins to wait."""
    was_asked = was_killed_by_us = False
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        number = signal.sigwait(awaited)
        if number == signal.SIGALRM:
            was_killed_by_us = True
            os.kill(child, signal.SIGKILL)
        elif number != signal.SIGCHLD:
            os.kill(child, signal.SIGTERM)
            if not was_asked:
                was_asked = True
                signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_END)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        print(f"{stage}: {_cause(stage, -code, was_killed_by_us)}", file=sys.stderr, flush=True)
    os._exit(code if code >= 0 else 128 - code)


def _cause(stage: str, number: int, was_killed_by_us: bool) -> str:
    if was_killed_by_us:
        return f"did not stop within {_SECONDS_TO_END:.0f} s, so it was killed."
    if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        return "stopped."
    if number != signal.SIGKILL:
        return f"crashed ({signal.Signals(number).name}), in code that is not Python's."
    lower = MEMORY.get(stage.partition("@")[0])
    hint = f"Lower {lower}; or use less data or a machine with more memory." if lower else "Use less data or a machine with more memory."
    return f"was killed (signal 9): most likely the machine ran out of memory. {hint}"


def _is_orphan(parent: int) -> bool:
    """Did dvc die before this process could ask about it? In a container, process 1 may be dvc itself."""
    if parent != 1:
        return False
    with suppress(OSError):
        return b"dvc" not in Path("/proc/1/cmdline").read_bytes()
    return True
