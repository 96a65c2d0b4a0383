"""Run other programs and return their output, or raise an error of one line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from textmill.base.errors import UserError
from textmill.tracking.redaction import redacted

DVC = [sys.executable, "-m", "dvc"]


def output_of(*command: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output, stripped of white space.

    Raises UserError with its error message or its last line if it fails.
    """
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"`{_shown(command)}` cannot be run: {error.strerror}.") from None
    if done.returncode != 0:
        said = [line for line in (done.stderr.strip() or done.stdout.strip()).split("\n") if line]
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "it printed nothing")
        raise UserError(f"`{_shown(command)}` failed with exit code {done.returncode}: {redacted(reason)}")
    return done.stdout.strip()


def _shown(command: tuple[str, ...]) -> str:
    return shlex.join(["dvc", *command[len(DVC) :]] if list(command[: len(DVC)]) == DVC else command)
