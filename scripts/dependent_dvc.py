"""dvc as a command that does not outlive the process that started it: python -m scripts.dependent_dvc ARGUMENTS

Stages end with their dvc (stages/runner.py); so nothing of a trial is left when a search is killed.
"""

from __future__ import annotations

import os
import signal
import sys

from textmill.lifetime import end_with_parent


def main() -> int:
    end_with_parent(signal.SIGKILL, int(os.environ.pop("TEXTMILL_SEARCH_PROCESS")))
    from dvc.cli import main as dvc  # not above: it takes a second in which the parent may die

    return int(dvc(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
