"""What matters on a GPU, measured in a quarter of an hour, in order of worth.

    python benchmarks/gpu.py --prepare DATA                # on any machine: the Multi30k pairs as one file, from a folder of jsonl.gz
    python benchmarks/gpu.py --out FOLDER [--minutes 11]   # on the machine with the GPU
    python benchmarks/gpu.py --docs                        # the tables of docs/gpu.md, from benchmarks/results/gpu_*.json

Each part is a process with its own time limit and leaves FOLDER/gpu_PART.json, with hardware and versions; parts that are there and
whole are skipped. What a part measured before it was stopped is kept. It needs no network, and neither DVC, MLflow nor CTranslate2.
docs/gpu.md says what has to be copied to the machine.
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

PARTS = {"correctness": 140, "speed": 240, "graphs": 110, "quality": 270, "processes": 75}  # most seconds of each
_FEWEST_SECONDS = 15  # a part is not begun with less left
_LAST_WORDS = 3000  # characters of a part's messages that are kept
_VERSIONS = ("torch", "triton", "transformers", "numpy", "sentencepiece", "sacrebleu", "safetensors")


def machine() -> dict[str, Any]:
    """Hardware and versions."""
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    versions["torch"] = torch.__version__  # with the kind of its build
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
    """End a part and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def result_file(folder: Path, part: str) -> Path:
    """Where a part's results are."""
    return folder / f"gpu_{part}.json"


def is_done(folder: Path, part: str) -> bool:
    """Was the part measured, to its end?"""
    file = result_file(folder, part)
    return file.exists() and bool(read_json(file)["complete"])


def measure(options: argparse.Namespace) -> None:
    """Run all parts that FOLDER does not have, while minutes remain, and print a table."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no GPU. Run it on a machine with one, or try everything out with --device cpu --tiny.")
    options.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    for part in options.only or PARTS:
        left = until - time.monotonic()
        if is_done(options.out, part):
            print(f"{part}: there already", flush=True)
        elif left < _FEWEST_SECONDS:
            print(f"{part}: no time left", flush=True)
        else:
            run_part(part, min(PARTS[part], left), options)
            result = read_json(result_file(options.out, part))
            print(f"{part}: {result['ended'] or 'done'} in {result['seconds']} s", flush=True)
            if "last_words" in result:
                print(result["last_words"], flush=True)
    for part in PARTS:
        if result_file(options.out, part).exists():
            print("\n" + table_of(read_json(result_file(options.out, part))), flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=11.0, help="for all parts together")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="these parts, in this order")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes and few steps, to see that everything runs")
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
        raise UserError("give --out FOLDER for the results.")
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
