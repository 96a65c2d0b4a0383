"""Compare the training speed of textmill, MarianMT and nn.Transformer on the same batches and model shape.

    pip install -e '.[benchmarks]' -c constraints.txt
    python benchmarks/train_throughput.py [--shape large|big|small] [--systems NAME…] [--quick] [--threads 2] [--device cuda] [--save FILE]

Speed is measured in target tokens and steps per second. Each measurement runs in a new process. The systems take turns in several
rounds, because the speed of a shared machine changes over time.

For each system, the best round and the median over the rounds are reported. Three ratios are reported: of the best rounds, the median
of the ratios per round by wall-clock time, and the same by CPU time, which depends less on other work on the machine. A ratio compares
the faster precision of each system.

`--quick` measures fewer steps. Without `--rounds`, it starts no second round that would not end within five minutes.

training_systems.py describes each system; training_arithmetic.py computes MFU and memory. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import processor
from training_arithmetic import megabytes_by_hand
from training_shapes import SHAPES, TrainingShape, read_batches, write_batches

from textmill.base.errors import UserError

SYSTEMS = ("ours-float32", "ours-bfloat16", "marian-float32", "marian-bfloat16", "torch-transformer")
_QUICK_SECONDS = 270.0
_ROUNDS = 5
# For all systems. The first two are set in every stage of textmill; stages/__init__.py says why.
_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8192", "TRANSFORMERS_VERBOSITY": "error"}

Round = dict[str, dict[str, Any]]  # by system


def measure(system: str, name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one system in a new process. Raises UserError with its last line if it fails."""
    script = Path(__file__).with_name("training_systems.py")
    command = [sys.executable, str(script), system, name, str(folder), "--device", options.device, "--threads", str(options.threads)]
    environment = os.environ | _ENVIRONMENT
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise UserError(f"{system} failed on shape {name}: {(done.stderr.strip() or 'no message').split(chr(10))[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().split("\n")[-1])
    return result


def take_rounds(plan: dict[str, Path], systems: list[str], options: argparse.Namespace, until: float) -> dict[str, list[Round]]:
    """Run the rounds of every shape.

    plan: maps each shape to the folder of its batches.
    until: time.monotonic() at which a quick run must end.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in plan}
    longest = 0.0
    for number in range(options.rounds or _ROUNDS):
        started = time.monotonic()
        if options.quick and not options.rounds and number and started + longest > until:
            break
        for name, folder in plan.items():
            taken: Round = {}
            for system in systems if number % 2 == 0 else systems[::-1]:
                taken[system] = measure(system, name, folder, options)
                print(f"{name}, round {number + 1}: {system} {taken[system]['target_tokens_per_second']:,.0f} tokens/s", file=sys.stderr)
            rounds[name].append(taken)
        longest = max(longest, time.monotonic() - started)
    return rounds


def steps_of(shape: TrainingShape, options: argparse.Namespace) -> int:
    """Return the approximate number of measured steps per process. The same number of warm-up steps comes first."""
    return options.steps or (shape.quick_steps if options.quick else shape.steps)


def summarized(rounds: list[Round]) -> dict[str, Any]:
    """Return the complete best round and the median speed of every system, and the ratios."""
    systems: dict[str, Any] = {}
    for system in rounds[0]:
        taken = [each[system] for each in rounds]
        best = max(taken, key=lambda result: result["target_tokens_per_second"])
        median = statistics.median(result["target_tokens_per_second"] for result in taken)
        systems[system] = best | {"median_target_tokens_per_second": round(median, 1), "peak_rss_mb": max(r["peak_rss_mb"] for r in taken)}
    makers = {name.partition("-")[0] for name in systems}
    ratios = {f"ours_to_{peer}": ratio_to(peer, rounds) for peer in ("marian", "torch") if {"ours", peer} <= makers}
    return {"rounds": len(rounds), "systems": systems, "ratios": ratios}


def ratio_to(peer: str, rounds: list[Round]) -> dict[str, float]:
    """Compute the ratio of textmill to `peer` in target tokens per second. In steps per second it is the same: the batches are equal."""

    def fastest(maker: str, taken: Round, unit: str = "second") -> float:
        return max(result[f"target_tokens_per_{unit}"] for name, result in taken.items() if name.startswith(maker))

    best = max(fastest("ours", each) for each in rounds) / max(fastest(peer, each) for each in rounds)
    by_wall_clock, by_cpu_time = (
        statistics.median(fastest("ours", each, unit) / fastest(peer, each, unit) for each in rounds) for unit in ("second", "cpu_second")
    )
    return {"best": round(best, 2), "median_of_rounds": round(by_wall_clock, 2), "median_by_cpu_time": round(by_cpu_time, 2)}


def show(name: str, summary: dict[str, Any]) -> None:
    """Print the table of a shape."""
    print(f"\n{name}: {summary['rounds']} rounds\n")
    print("| system | tokens/s, best | tokens/s, median | steps/s | peak RSS, MB | above imports, MB | last loss | parameters |")
    print("|---|---|---|---|---|---|---|---|")
    for system, r in summary["systems"].items():
        speeds = f"{r['target_tokens_per_second']:,.0f} | {r['median_target_tokens_per_second']:,.0f} | {r['steps_per_second']:.2f}"
        memory = f"{r['peak_rss_mb']} | {r['peak_above_imports_mb']}"
        print(f"| {system} | {speeds} | {memory} | {r['last_loss']:.3f} | {r['parameters']:,} |")
    for ratio, values in summary["ratios"].items():
        print(
            f"{ratio}: {values['best']} of the best rounds, {values['median_of_rounds']} by the median round, {values['median_by_cpu_time']} by CPU time"
        )
    for precision, parts in summary["memory_by_hand_mb"].items():
        print(f"ours, {precision}, by hand: " + ", ".join(f"{part} {value} MB" for part, value in parts.items()))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="can be repeated; default: big and small")
    parser.add_argument("--systems", choices=SYSTEMS, nargs="+", default=SYSTEMS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer steps; without --rounds, less than five minutes in total")
    parser.add_argument("--rounds", type=int, default=0, help=f"default: {_ROUNDS}; with --quick, as many as fit into five minutes")
    parser.add_argument(
        "--steps", type=int, default=0, help="approximate number of measured steps per process; 0: as defined for the shape"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--save", type=Path, help="also write the JSON here")
    options = parser.parse_args(arguments)
    until = time.monotonic() + _QUICK_SECONDS
    if options.threads < 1 or min(options.rounds, options.steps) < 0:
        raise UserError("--threads must be 1 or more, --rounds and --steps 0 or more.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch finds no GPU. Use cpu, or install the CUDA build of torch.")
    has_transformers = importlib.util.find_spec("transformers") is not None
    if not has_transformers:
        print(
            "transformers is not installed here, so MarianMT is left out: pip install -e '.[benchmarks]' -c constraints.txt",
            file=sys.stderr,
        )
    systems = [system for system in options.systems if has_transformers or not system.startswith("marian")]
    with tempfile.TemporaryDirectory() as temporary:
        plan: dict[str, Path] = {}
        for name in options.shape or ("big", "small"):
            plan[name] = Path(temporary, name)
            plan[name].mkdir(exist_ok=True)
            write_batches(SHAPES[name], steps_of(SHAPES[name], options), plan[name])
        shapes = {name: summarized(rounds) for name, rounds in take_rounds(plan, systems, options, until).items()}
        for name, folder in plan.items():
            batches = read_batches(folder)[0]
            by_hand = {precision: megabytes_by_hand(SHAPES[name], batches, precision) for precision in ("float32", "bfloat16")}
            shapes[name]["memory_by_hand_mb"] = by_hand
    for name, summary in shapes.items():
        show(name, summary)
    line = json.dumps(
        {
            "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
            "cpu": processor(),
            "threads": options.threads,
            "torch": torch.__version__,
            "transformers": importlib.metadata.version("transformers") if has_transformers else None,
            "shapes": shapes,
        }
    )
    if options.save is not None:
        options.save.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"train_throughput: {error}")
