"""Part 2: target tokens per second, model FLOPs utilization (MFU), memory, and idle time of the GPU.

The first comparison is between textmill and MarianMT, both with torch.compile, on Transformer-big (Vaswani et al. 2017, table 3) with
32,000 pieces and batches of 32,768 tokens per side. Then follow models with 60 million and 2 million parameters. training_systems.py
describes the systems, training_arithmetic.py defines MFU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from gpu_record import Plan, Recorder
from training_shapes import SHAPES, write_batches

MFU_GOAL, MARIAN_GOAL, IDLE_GOAL = 0.45, 1.5, 0.5
# system, shape, mode; the first two are compared
RUNS = [
    ("ours-bfloat16", "large", "compiled"),
    ("marian-bfloat16", "large", "compiled"),
    ("ours-bfloat16", "small", "graphs"),
    ("ours-bfloat16", "base", "graphs"),
]
STEPS = {"large": 12, "base": 30, "small": 100, "tiny": 2}


def run_system(system: str, shape: str, mode: str, device: torch.device, folder: Path, is_exact: bool = True) -> dict[str, Any]:
    """Measure one system in a process. folder: folder for the batches, which are written if they do not exist."""
    batches = folder / shape
    if not batches.exists():
        batches.mkdir()
        write_batches(SHAPES[shape], STEPS[shape], batches)
    script = Path(__file__).with_name("training_systems.py")
    command = [sys.executable, str(script), system, shape, str(batches), "--device", device.type, "--mode", mode]
    environment = os.environ | {"TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run([*command, *([] if is_exact else ["--inexact"])], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{system}, {shape}, {mode}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().split("\n")[-1])
    return result


def measure(recorder: Recorder, plan: Plan) -> None:
    """Record every run, and the ratio of the first two."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for system, shape, mode in RUNS[: 2 if plan.is_tiny else None]:
            shape = "tiny" if plan.is_tiny else shape
            try:
                result = run_system(system, shape, mode, plan.device, Path(temporary))
            except RuntimeError as error:
                recorder.add(f"{system}, {shape}, {mode}", failed=str(error))
                continue
            found.setdefault((system, shape), result)
            recorder.add(f"{system}, {shape}, {mode}", shape=shape, **result)
            if mode == "compiled" and len(found) == 2 and system.startswith("marian"):
                ours = found["ours-bfloat16", shape]
                ratio = ours["target_tokens_per_second"] / result["target_tokens_per_second"]
                recorder.add(
                    "ours to MarianMT, target tokens per second", ratio=round(ratio, 2), goal=MARIAN_GOAL, holds=ratio >= MARIAN_GOAL
                )
                if (mfu := ours.get("mfu")) is not None:
                    recorder.add("MFU", mfu=mfu, goal=MFU_GOAL, holds=mfu >= MFU_GOAL)
            if shape == "small" and mode == "graphs" and "idle_share" in result:
                idle = result["idle_share"]
                recorder.add("idle share of the small model", idle_share=idle, goal=IDLE_GOAL, holds=idle <= IDLE_GOAL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One system, shape and mode on a GPU: its numbers as a line of JSON.")
    for name in ("system", "shape", "mode"):
        parser.add_argument(name)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run_system(options.system, options.shape, options.mode, torch.device("cuda"), Path(folder))))
