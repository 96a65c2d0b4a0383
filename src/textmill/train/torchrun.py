"""torchrun that ends when its parent does. Arguments: the parent's process id, then torchrun's own."""

from __future__ import annotations

import signal
import sys

from torch.distributed import run

from textmill.base.lifetime import end_with_parent


def main(parent: int, arguments: list[str]) -> None:
    """Run torchrun; on SIGTERM, also that of the parent's death, it ends its processes, then itself."""
    end_with_parent(signal.SIGTERM, parent)
    run.main(arguments)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
