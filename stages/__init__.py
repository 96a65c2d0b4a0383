"""Set up every stage process before anything else is imported."""

import os
import sys

# Waiting threads of OpenMP spin, by default for so long that training nearly stops on a machine with other work. With 2 threads
# next to 2 busy processes, training made fewer than 1 step per second; with this setting, 7.5. On an idle machine it makes 16.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# oneDNN compiles a kernel for every shape of a bfloat16 product, and batches have many shapes. With the default cache of 1,024
# kernels, the kernels of one epoch would be compiled again in the next.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

# Done here and not in the runner, because a process should be forked before it has threads and much memory.
if sys.argv[0] == "-m" and "DVC_STAGE" in os.environ:  # Python is still looking for the script that -m names
    from textmill.pipeline.supervisor import go_on_supervised

    go_on_supervised(os.environ["DVC_STAGE"])
