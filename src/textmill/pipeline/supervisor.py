"""The supervisor process of a stage. However a stage ends, its MLflow run is closed and none of its processes keeps running.

The process tree is dvc -> supervisor -> stage. If a stop signal arrives or dvc dies, the supervisor sends SIGTERM to the stage, which
closes its run and exits. If it does not exit, SIGKILL follows. If the supervisor dies, the stage dies too.
There may be a shell between dvc and the supervisor: bash and dash replace themselves with a single command, but other shells (and
some versions of dash) do not.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from textmill.base.lifetime import end_with_parent, is_alive, is_dvc, process_key, stop_signals, with_ancestors

_SECONDS_TO_END = 4.0
_SECONDS_BETWEEN_LOOKS = 1.0  # between two checks whether dvc is alive
_IN_TRAINING = "{0}.batch_tokens (with a higher {0}.accumulate the result stays about the same), or the sizes in model"
# Settings that reduce memory use, by stage.
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
    """Fork, and return in the child process. The parent waits for the child and exits with its exit code."""
    parent, supervisor = os.getppid(), os.getpid()
    dvc = _dvc_above(parent)
    if dvc is None:
        os._exit(137)
    asked = stop_signals()
    awaited = [signal.SIGCHLD, signal.SIGALRM, *asked]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        end_with_parent(signal.SIGKILL, supervisor)
        for number in asked:  # until the runner handles signals; Python's default would print a traceback
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        return
    end_with_parent(signal.SIGTERM, parent)
    _wait(child, awaited, stage, dvc)


def _wait(child: int, awaited: list[signal.Signals], stage: str, dvc: str) -> NoReturn:
    """Wait for signals one by one. A handler could miss a signal that arrives just before the wait starts."""
    was_asked = was_killed_by_us = False
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        received = signal.sigtimedwait(awaited, _SECONDS_BETWEEN_LOOKS)
        if received is None and (was_asked or is_alive(dvc)):
            continue
        number = received.si_signo if received is not None else signal.SIGTERM
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
        return f"crashed ({signal.Signals(number).name}) in native code."
    lower = MEMORY.get(stage.partition("@")[0])
    hint = f"Lower {lower}; or use less data or a machine with more memory." if lower else "Use less data or a machine with more memory."
    return f"was killed (signal 9): most likely the machine ran out of memory. {hint}"


def _dvc_above(parent: int) -> str | None:
    """Return the process key of the nearest dvc among the ancestors, or of `parent` if a program runs DVC through its Python API.

    Returns None if dvc is already dead.
    """
    above = list(with_ancestors(parent))
    for pid, command in above:
        if is_dvc(command) or (pid == 1 and any("dvc" in word for word in command)):  # process 1 in a container
            return process_key(pid)
    # Skips shells. The parent of what `docker exec` runs is outside of the container, so there may be nothing else above.
    top = next((pid for pid, command in above if pid == 1 or "-c" not in command), parent)
    return None if top == 1 else process_key(parent)  # orphans become children of process 1
