"""Compare the speed of cleaning, in rows per second, with the corresponding filters of OpusFilter, on the same file.

    pip install -e '.[benchmarks]'        # in this environment, or in another one: then use --opusfilter-python
    python benchmarks/cleaning_throughput.py FILE.jsonl.gz --pair en-zh [--opusfilter-python .opusfilter/bin/python] [--rounds 3]

Both read a file, remove equal pairs, filter, and write a file, in one process. They take turns, models are loaded before, and the
medians of the rounds are compared. textmill also repairs the rows. For comparison, three more speeds are printed: all cleaning with
the settings of params.yaml, the same in two worker processes, and the search for near-duplicates alone.

The last line of the output is JSON. `rows_per_second` and `ratio` include language identification and use wall-clock time. `runs` has
all runs. `cpu_runs` has their CPU times, which depend less on other work on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelled import languages_of, read_rows, read_settings, write_pairs

from textmill.base.errors import UserError
from textmill.base.tables import num_rows, read_table
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.duplicates import compared_text
from textmill.clean.plans import TaskPlan
from textmill.clean.repairs import Pair
from textmill.clean.settings import CleanSettings
from textmill.similarity.near_duplicates import similar_pairs
from textmill.tasks.languages import LanguageSettings

_HEADLINE = "with_language"


def variants(clean: CleanSettings) -> dict[str, CleanSettings]:
    """Return settings by name: what OpusFilter can do, without and with language identification; everything, in one and two processes."""
    kept = replace(clean.privacy, **dict.fromkeys(clean.privacy.actions(), "keep"))
    learned = {"max_length_deviation": 0.0, "truncated": 0.0, "misaligned": 0.0}
    alike = replace(clean, privacy=kept, near_duplicates=0.0, duplicates="pair", filters=replace(clean.filters, **learned))
    return {
        "rules": replace(alike, filters=replace(alike.filters, language_confidence=0.0)),
        "with_language": alike,
        "everything": replace(clean, near_duplicates=0.0),
        "everything_two_workers": replace(clean, near_duplicates=0.0, workers=2),
    }


def ours(pairs: Path, folder: Path, clean: CleanSettings, languages: LanguageSettings) -> dict[str, float]:
    """Clean with textmill. Returns wall-clock seconds, CPU seconds, and the number of kept rows."""
    outputs = Outputs(folder / "kept.parquet", folder / "rejected.parquet", folder / "samples.json")
    wall, cpu = time.perf_counter(), time.process_time()
    clean_corpus(pairs, outputs, clean, {"": TaskPlan(clean, languages)})
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu, "kept": num_rows(outputs.kept)}


def opusfilter(python: str, texts: list[Path], folder: Path, languages: LanguageSettings) -> dict[str, dict[str, float]] | None:
    """Run OpusFilter. Returns its times, or None if it is not installed for that interpreter."""
    probe = subprocess.run([python, "-c", "import opusfilter, lingua"], capture_output=True, check=False)
    if probe.returncode:
        return None
    script = Path(__file__).with_name("opusfilter_run.py")
    command = [python, str(script), *map(str, texts), *languages.codes(), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"OpusFilter failed: {done.stderr.strip().split(chr(10))[-1]}")
    result: dict[str, dict[str, float]] = json.loads(done.stdout.strip().split("\n")[-1])
    return result


def measured(file: Path, pair: str, python: str, rounds: int) -> dict[str, Any]:
    """Run all rounds. Returns the medians by wall-clock time and by CPU time."""
    rows, languages, clean = read_rows(file), languages_of(pair), read_settings()
    runs: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(rows, folder / "pairs.parquet")
        write_pairs(rows[:300], folder / "few.parquet")
        texts = [folder / "texts.source", folder / "texts.target"]
        for path, side in zip(texts, ("source", "target"), strict=True):
            path.write_text("".join(" ".join(row[side].split("\n")) + "\n" for row in rows), encoding="utf-8", newline="\n")
        ours(folder / "few.parquet", folder, variants(clean)["with_language"], languages)
        for _ in range(rounds):
            for variant, settings in variants(clean).items():
                runs["ours"][variant].append(ours(folder / "pairs.parquet", folder, settings, languages))
            for variant, result in (opusfilter(python, texts, folder, languages) or {}).items():
                runs["opusfilter"][variant].append(result)
        cleaned = read_table(folder / "kept.parquet")
    pairs = [compared_text(Pair(*both), False) for both in zip(cleaned["source"], cleaned["target"], strict=True)]
    start = time.perf_counter()
    similar_pairs(pairs, clean.near_duplicates or 0.95)
    near = len(pairs) / (time.perf_counter() - start)
    speeds, cpu_speeds = (
        {
            who: {name: round(len(rows) / statistics.median(run[unit] for run in all_)) for name, all_ in each.items()}
            for who, each in runs.items()
        }
        for unit in ("seconds", "cpu_seconds")
    )
    del cpu_speeds["ours"]["everything_two_workers"]  # the CPU time of the workers is not counted for this process
    ratios = _ratios(speeds)
    return {
        "rows": len(rows),
        "rows_per_second": {who: each[_HEADLINE] for who, each in speeds.items()},
        "ratio": ratios.get(_HEADLINE),
        "runs": {"rows_per_second": speeds, "ratio": ratios},
        "cpu_runs": {"rows_per_second": cpu_speeds, "ratio": _ratios(cpu_speeds)},
        "kept": {who: {name: all_[-1]["kept"] for name, all_ in each.items()} for who, each in runs.items()},
        "near_duplicates_rows_per_second": round(near),
    }


def _ratios(speeds: dict[str, dict[str, int]]) -> dict[str, float]:
    return {name: round(speeds["ours"][name] / speed, 2) for name, speed in speeds.get("opusfilter", {}).items()}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--pair", required=True, help="language codes of source and target, such as en-zh")
    parser.add_argument("--opusfilter-python", default=sys.executable, help="interpreter that can import opusfilter and lingua")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    result = measured(options.file, options.pair, options.opusfilter_python, options.rounds)
    by_wall_clock = result["runs"]
    if result["ratio"] is None:
        print("OpusFilter is not installed here. Run pip install -e '.[benchmarks]', or give its interpreter with --opusfilter-python.")
    print("| run | ours, rows/s | OpusFilter, rows/s | ratio |\n|---|---|---|---|")
    for name, speed in by_wall_clock["rows_per_second"]["ours"].items():
        theirs = by_wall_clock["rows_per_second"].get("opusfilter", {}).get(name, "")
        print(f"| {name} | {speed} | {theirs} | {by_wall_clock['ratio'].get(name, '')} |")
    print(f"| near-duplicates alone | {result['near_duplicates_rows_per_second']} | | |")
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"cleaning_throughput: {error}")
