"""Measure time and memory of grouping generated short texts: `python benchmarks/grouping.py [TEXTS] [--similarity S]`.

A fifth of the texts are copies of an earlier text with one letter changed. The others are 3 to 10 words, drawn from 30,000 by Zipf's law.
The output is one JSON line: texts, similarity, seconds, cpu_seconds, peak_rss_mb, groups, crowded.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from itertools import accumulate

import numpy as np
import pandas as pd

from textmill.split.groups import group_pairs
from textmill.split.settings import SplitSettings

_LETTERS = "etaoinshrdlucmfwypvbgkqjxz"
_FREQUENCIES = [12.7, 9.1, 8.2, 7.5, 7, 6.7, 6.3, 6.1, 6, 4.3, 4, 2.8, 2.8, 2.4, 2.2, 2.4, 2, 1.9, 1, 1.5, 2, 0.8, 0.1, 0.15, 0.15, 0.07]


def generated(count: int, seed: int = 1) -> list[str]:
    """Generate `count` texts of about 40 characters."""
    rng = random.Random(seed)
    letters = list(accumulate(_FREQUENCIES))
    words = ["".join(rng.choices(_LETTERS, cum_weights=letters, k=min(12, max(2, int(rng.gauss(6, 2)))))) for _ in range(30_000)]
    zipf = list(accumulate(1 / rank for rank in range(10, 30_010)))
    texts: list[str] = []
    for number in range(count):
        if number % 5 == 4:
            text = texts[rng.randrange(number)]
            place = rng.randrange(len(text))
            texts.append(text[:place] + rng.choice(_LETTERS) + text[place + 1 :])
        else:
            texts.append(" ".join(rng.choices(words, cum_weights=zipf, k=rng.randint(3, 10))))
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--similarity", type=float, default=0.5)
    arguments = parser.parse_args()
    pairs = pd.DataFrame({"source": generated(arguments.texts), "target": "label", "group": "", "task": ""})
    split = SplitSettings([0, 1, 2], 3, 1, 0.1, arguments.similarity, "auto", 13)
    start, cpu = time.monotonic(), time.process_time()
    grouping = group_pairs(pairs, split, limit=np.inf)
    print(
        json.dumps(
            {
                "texts": arguments.texts,
                "similarity": arguments.similarity,
                "seconds": round(time.monotonic() - start, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "groups": int(grouping.numbers.max()) + 1,
                "crowded": grouping.metrics["crowded"],
            }
        )
    )


if __name__ == "__main__":
    main()
