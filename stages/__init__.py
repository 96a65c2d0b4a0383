"""What holds in every stage process before anything is imported."""

import os
import sys

# Threads that wait for each other spin, by default for so long that on a machine with other work a training comes to a halt:
# 2 threads beside 2 busy processes made fewer than 1 step a second instead of 16; with this, 7.5, and 16 on an idle machine.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# oneDNN compiles a kernel for every shape of a bfloat16 product, and batches have many: with the default of 1,024 kept kernels
# those of one epoch would have to be compiled again in the next.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

# Here, and not in the runner: a process is best forked before it has threads and memory.
if sys.argv[0] == "-m" and "DVC_STAGE" in os.environ:  # Python is still looking for the script that -m names
    from textmill.pipeline.supervisor import go_on_supervised

    go_on_supervised(os.environ["DVC_STAGE"])
