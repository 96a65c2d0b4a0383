from __future__ import annotations

import subprocess
import sys


def test_a_cpu_gets_deterministic_kernels_without_the_import_of_the_compiler() -> None:
    """The compiler takes longer to import than many a stage runs."""
    program = (
        "import sys, torch; from textmill.model.device import choose_device\n"
        "assert not torch.are_deterministic_algorithms_enabled()\n"
        "print(choose_device('cpu'), torch.are_deterministic_algorithms_enabled(), torch.get_deterministic_debug_mode())\n"
        "print('torch._inductor' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "cpu True 2\nFalse\n"
