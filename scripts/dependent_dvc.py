"""dvc as a command that does not outlive the process that started it: python -m scripts.dependent_dvc ARGUMENTS

Stages end with their dvc (stages/runner.py); so nothing of a trial is left when a search is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> int:
    parent = int(os.environ.pop("TEXTMILL_SEARCH_PROCESS"))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        return 137
    from dvc.cli import main as dvc

    return int(dvc(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
