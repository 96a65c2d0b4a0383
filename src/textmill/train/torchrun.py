"""Run torchrun, and end it when its parent process ends. Arguments: process id of the parent, then the arguments of torchrun."""

from __future__ import annotations

import signal
import sys

from torch.distributed import run

from textmill.base.lifetime import end_with_parent


def main(parent: int, arguments: list[str]) -> None:
    """Run torchrun. On SIGTERM, which it also gets when the parent dies, it ends its processes and then itself."""
    end_with_parent(signal.SIGTERM, parent)
    run.main(arguments)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
