"""Part 3: steps per second of the default model (2 million parameters, 600 tokens per batch), with and without CUDA graphs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gpu_record import Plan, Recorder
from gpu_speed import run_system

GOAL = 2.0  # ratio of steps per second, CUDA graphs to torch.compile
MODES = [("compiled", True), ("graphs", True), ("graphs", False), ("eager", True)]


def measure(recorder: Recorder, plan: Plan) -> None:
    """Record the steps per second of every mode, and the ratios."""
    shape = "tiny" if plan.is_tiny else "small"
    rates: dict[tuple[str, bool], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for mode, is_exact in MODES[1:2] if plan.is_tiny else MODES:
            name = f"{mode}{'' if is_exact else ', kernels that are not deterministic'}"
            try:
                result = run_system("ours-bfloat16", shape, mode, plan.device, Path(folder), is_exact)
            except RuntimeError as error:
                recorder.add(name, failed=str(error))
                continue
            rates[mode, is_exact] = result["steps_per_second"]
            recorder.add(name, shape=shape, **result)
    if {("graphs", True), ("compiled", True)} <= rates.keys():
        ratio = rates["graphs", True] / rates["compiled", True]
        recorder.add("CUDA graphs to torch.compile alone, steps per second", ratio=round(ratio, 2), goal=GOAL, holds=ratio >= GOAL)
    if ("graphs", False) in rates and ("graphs", True) in rates:
        recorder.add("cost of deterministic kernels, share of a step", cost=round(1 - rates["graphs", True] / rates["graphs", False], 3))
