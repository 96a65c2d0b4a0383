"""Measure training on a GPU in a quarter of an hour, the most important parts first.

    python benchmarks/gpu.py --prepare DATA                # on any machine: pack the Multi30k pairs of a folder into one file
    python benchmarks/gpu.py --out FOLDER [--minutes 11]   # on the machine with the GPU
    python benchmarks/gpu.py --docs                        # write the tables of docs/gpu.md from benchmarks/results/gpu_*.json

Each part runs in a process with a time limit, and writes FOLDER/gpu_PART.json with hardware and versions. Complete parts are skipped.
If a part is stopped, the measurements up to then are kept. The script needs no network, DVC, MLflow or CTranslate2.
docs/gpu.md says which files to copy to the machine.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from gpu_data import PREPARED, prepare
from gpu_record import Plan, Recorder, read_records
from gpu_tables import replace_tables, table_of
from machine import processor

from textmill.base.errors import UserError
from textmill.base.files import read_json, write_json
from textmill.base.lifetime import end_with_parent

PARTS = {"correctness": 140, "speed": 240, "graphs": 110, "quality": 480, "processes": 75}  # time limit of each part in seconds
_FEWEST_SECONDS = 15  # a part is not started if less time remains
_LAST_WORDS = 3000  # characters of the log of a part that are kept
_VERSIONS = ("torch", "triton", "transformers", "numpy", "sentencepiece", "sacrebleu", "safetensors")


def machine() -> dict[str, Any]:
    """Return hardware and versions."""
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    versions["torch"] = torch.__version__  # includes the build, such as +cu126
    gpu: dict[str, Any] = {"gpu": None}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = {"gpu": properties.name, "gpu_memory_gb": round(properties.total_memory / 1e9, 1), "cuda": torch.version.cuda}
    return gpu | {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


def run_part(part: str, seconds: float, options: argparse.Namespace) -> None:
    """Run a part for at most `seconds` and write its JSON file."""
    records, log = options.out / f"{part}.jsonl", options.out / f"{part}.log"
    records.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--part", part, "--out", str(options.out), "--device", options.device, "--data", str(options.data)]
    started = time.monotonic()
    command += ["--tiny"] if options.tiny else []
    environment = os.environ | {"GOMP_SPINCOUNT": "1000"}  # as in every stage of textmill
    with log.open("wb") as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=messages, env=environment, start_new_session=True)
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            kill_group(process)
    ended = {0: None, None: f"stopped after {seconds:.0f} s"}.get(code, f"exit code {code}")
    words = log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
    content = {"part": part, "complete": code == 0, "seconds": round(time.monotonic() - started, 1), "ended": ended}
    content |= {"machine": machine(), "records": read_records(records)} | ({} if code == 0 else {"last_words": words})
    write_json(result_file(options.out, part), content)
    records.unlink(missing_ok=True)
    log.unlink()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process of a part and all its child processes."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def result_file(folder: Path, part: str) -> Path:
    """Return the path of the results of a part."""
    return folder / f"gpu_{part}.json"


def is_done(folder: Path, part: str) -> bool:
    """True if the results of the part are complete."""
    file = result_file(folder, part)
    return file.exists() and bool(read_json(file)["complete"])


def measure(options: argparse.Namespace) -> None:
    """Run all parts without complete results in FOLDER while time remains, and print the tables."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no GPU. Run this on a machine with one, or test everything with --device cpu --tiny.")
    options.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    for part in options.only or PARTS:
        remaining = until - time.monotonic()
        if is_done(options.out, part):
            print(f"{part}: already complete", flush=True)
        elif remaining < _FEWEST_SECONDS:
            print(f"{part}: no time left", flush=True)
        else:
            run_part(part, min(PARTS[part], remaining), options)
            result = read_json(result_file(options.out, part))
            print(f"{part}: {result['ended'] or 'done'} in {result['seconds']} s", flush=True)
            if "last_words" in result:
                print(result["last_words"], flush=True)
    for part in PARTS:
        if result_file(options.out, part).exists():
            print("\n" + table_of(read_json(result_file(options.out, part))), flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--minutes", type=float, default=11.0, help="time limit for all parts together")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="run only these parts, in this order")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes and few steps, to test that everything runs")
    parser.add_argument("--data", type=Path, default=PREPARED, help="the prepared pairs")
    parser.add_argument("--prepare", type=Path, metavar="DATA", help=f"write {PREPARED} from train, valid and test.jsonl.gz in DATA")
    parser.add_argument("--docs", action="store_true", help="write the tables of docs/gpu.md")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.prepare is not None:
        prepare(options.prepare)
    elif options.docs:
        replace_tables(Path("docs/gpu.md"), Path("benchmarks/results"))
    elif options.out is None:
        raise UserError("--out is missing. Give a folder for the results.")
    elif options.part:
        end_with_parent(signal.SIGKILL)
        part = importlib.import_module(f"gpu_{options.part}")
        part.measure(Recorder(options.out / f"{options.part}.jsonl"), Plan(torch.device(options.device), options.tiny, options.data))
    else:
        measure(options)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"gpu: {error}")
