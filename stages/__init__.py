"""Set up every stage process before anything else is imported."""

import os
import sys

# By default, OpenMP threads that wait for each other spin for so long that training almost stops on a busy machine. Measured with
# 2 threads next to 2 busy processes: less than 1 step per second with the default, 7.5 with this setting. Idle machine: 16 with both.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# oneDNN compiles a kernel for every shape of a bfloat16 matrix product, and batches have many shapes. With the default cache of 1,024
# kernels, the kernels of one epoch would be compiled again in the next.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

# Here and not in the runner, because a process should be forked before it has threads and much memory.
if sys.argv[0] == "-m" and "DVC_STAGE" in os.environ:  # Python has not yet found the script that -m names
    from textmill.pipeline.supervisor import go_on_supervised

    go_on_supervised(os.environ["DVC_STAGE"])
