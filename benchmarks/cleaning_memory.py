"""Measure the peak memory of cleaning a large corpus of generated pairs, with the settings of params.yaml, in one process.

    python benchmarks/cleaning_memory.py --rows 1000000 [--limit-gib 4]

--limit-gib limits the address space of the run (RLIMIT_AS), which fails if it needs more. A tenth of the pairs are copies of earlier
ones, another tenth are near-duplicates. The last line of the output is JSON: rows, peak_mib (resident), base_mib (before the first row),
bytes_per_row, seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from labelled import plans_of_pair, read_settings

from textmill.base.tables import PAIR_SCHEMA, TableWriter
from textmill.clean.cleaning import Outputs, clean_corpus

_CHUNK = 50_000
_WORDS = 20_000
_FOLDER = Path("data/clean")  # ignored by git, and on the disk; the temporary folder of the system may be in memory


def made_up(rows: int, path: Path) -> None:
    """Write pairs of 6 to 14 words, where each word has one translation of two characters. They depend only on `rows`."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    english = ["".join(generator.choice(letters, generator.integers(3, 9))) for _ in range(_WORDS)]
    chinese = ["".join(map(chr, generator.integers(0x4E00, 0x8000, 2))) for _ in range(_WORDS)]
    with TableWriter(path, PAIR_SCHEMA) as writer:
        for start in range(0, rows, _CHUNK):
            pairs: list[tuple[str, str]] = []
            for number in range(min(_CHUNK, rows - start)):
                if number % 10 == 8 and number > 100:
                    pairs.append(pairs[number - 100])
                elif number % 10 == 9 and number > 100:
                    source, target = pairs[number - 99]
                    pairs.append((source.upper(), target))
                else:
                    chosen = generator.integers(0, _WORDS, generator.integers(6, 15))
                    pairs.append((" ".join(english[word] for word in chosen) + ".", "".join(chinese[word] for word in chosen) + "。"))
            columns = {
                "id": [f"0-{start + number}" for number in range(len(pairs))],
                "source": [source for source, _ in pairs],
                "target": [target for _, target in pairs],
                "line": np.arange(start + 1, start + len(pairs) + 1),
            }
            writer.write(pd.DataFrame({"group": "", "origin": "made up", "task": "", "weight": 1.0, "official_split": "", **columns}))


def peak_mib() -> float:
    """Return the largest resident set size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--limit-gib", type=float, default=0)
    options = parser.parse_args(arguments)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        folder = Path(name)
        made_up(options.rows, folder / "pairs.parquet")
        if options.limit_gib:
            resource.setrlimit(resource.RLIMIT_AS, (int(options.limit_gib * 2**30),) * 2)
        base, start = peak_mib(), time.perf_counter()
        outputs = Outputs(folder / "kept.parquet", folder / "rejected.parquet", folder / "samples.json")
        metrics = clean_corpus(folder / "pairs.parquet", outputs, read_settings(), plans_of_pair("en-zh"))
        seconds = time.perf_counter() - start
    result = {
        "rows": options.rows,
        "kept": metrics["rows_out"],
        "peak_mib": round(peak_mib()),
        "base_mib": round(base),
        "bytes_per_row": round((peak_mib() - base) * 2**20 / options.rows),
        "seconds": round(seconds),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
