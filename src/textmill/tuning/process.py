"""Run the process of a trial, and end it together with all its child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from textmill.tracking.redaction import redacted

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 10.0


def run_watched(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, goes_on: Callable[[], bool]) -> int | None:
    """Run `command` in `folder`, with its output in `log`. Returns its exit code, or None if it was stopped.

    goes_on: called twice a second. If it returns False, the process group gets SIGTERM, and SIGKILL after 10 s. The same happens on
    any exception here, Ctrl-C included.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            while True:
                try:
                    return process.wait(_SECONDS_BETWEEN_LOOKS)
                except subprocess.TimeoutExpired:
                    if not goes_on():
                        return None
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End all remaining processes of the group that `process` leads, and wait until they are gone."""
    for number, patience in ((signal.SIGTERM, _SECONDS_TO_END), (signal.SIGKILL, _SECONDS_TO_END)):
        ends_at = time.monotonic() + patience
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < ends_at:
                process.poll()  # reaps the leader, because a zombie counts as a member of the group
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def last_words(log: Path) -> str:
    """Return the last line of a log that is not DVC's own failure message. It usually is the error of the stage."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").split("\n")]
    of_stage = [line for line in lines if line and ": failed to run: " not in line]
    return redacted(of_stage[-1])[:300] if of_stage else "it printed nothing"
