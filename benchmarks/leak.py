"""Measure how much a random split inflates scores: `python benchmarks/leak.py FILE.jsonl.gz … [--rows N] [--similarity S]`.

FILE has JSON lines with `source` and `target`, gzipped or not. `group` is ignored, and each file is measured separately.

For each file, a translation memory answers two test sets: one of whole groups, and one drawn at random. It learns nothing, so any
higher score on the random test set is leakage.

`--test TEST.jsonl.gz` is an official test set for all files. The translation memory answers it twice: from the training data without
pairs that overlap with the test set, and from all training data as published.

The script prints a table. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from textmill.split.leak import measure_leak
from textmill.split.settings import SplitSettings
from textmill.split.splitting import split_corpus


def read(path: Path, rows: int) -> pd.DataFrame:
    """Read at most `rows` pairs, chosen at random."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8").split("\n")
    table = pd.DataFrame([json.loads(line) for line in lines if line])[["source", "target"]]
    chosen = np.sort(np.random.default_rng(1).permutation(len(table))[:rows])
    table = table.iloc[chosen].reset_index(drop=True)
    ids = [f"0-{row:09}" for row in range(len(table))]
    return table.assign(id=ids, group="", origin=path.name, line=chosen + 1, task="", weight=1.0, official_split="")


def measure(path: Path, test: Path | None, rows: int, similarity: float) -> dict[str, Any]:
    """Return the numbers of one line of the table."""
    split = SplitSettings([0, 1, 2, 3, 4], 5, 1, 0.1, similarity, "auto", 13)
    pairs = read(path, rows)
    if test is not None:
        official = read(test, rows)
        pairs = pd.concat([pairs, official.assign(id="1" + official["id"], official_split="test")], ignore_index=True)
    result = split_corpus(pairs, split, seed=1)
    metrics = result.metrics
    kept = ("groups", "largest_group", "test", "removed", "rows_by_similarity")
    return {
        "file": f"{path.parent.name}/{path.name}",
        "pairs": metrics["rows"],
        **{name: metrics[name] for name in kept},
        **measure_leak(result, seed=1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--similarity", type=float, default=0.5)
    arguments = parser.parse_args()
    results = []
    print("| file | pairs | groups | largest | removed | metric | protected | naive | invented |\n|---|---|---|---|---|---|---|---|---|")
    for path in arguments.files:
        results.append(each := measure(path, arguments.test, arguments.rows, arguments.similarity))
        print(
            f"| {each['file']} | {each['pairs']:,} | {each['groups']:,} | {each['largest_group']:,} | {sum(each['removed'].values()):,} | {each['metric']}"
            f" | {each['protected']:.1f} | {each['naive']:.1f} | {each['invented']:+.1f} |",
            flush=True,
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
