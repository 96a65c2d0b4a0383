"""dvc as a command that does not outlive the process that started it: python -m scripts.dependent_dvc ARGUMENTS

Stages end with their dvc (stages/supervisor.py); so nothing is left when a search or a rebuild is killed. SIGTERM is taken as Ctrl-C: between
stages dvc stops and leaves its files in order; while a stage runs it waits for it, since a signal for all processes ends the stage too.
"""

from __future__ import annotations

import os
import signal
import sys

from textmill.lifetime import end_with_parent

PARENT = "TEXTMILL_SEARCH_PROCESS"  # of a search, or of any other script


def main() -> int:
    end_with_parent(signal.SIGKILL, int(os.environ.pop(PARENT)))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    from dvc.cli import main as dvc  # not above: it takes a second in which the parent may die

    return int(dvc(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
