"""Measure one run of OpusFilter on two aligned files. cleaning_throughput.py starts it, possibly with another Python interpreter.

    python opusfilter_run.py SOURCE TARGET SOURCE_LANGUAGE TARGET_LANGUAGE FOLDER

The output is one JSON line: seconds and kept rows, with and without language identification. Both remove duplicates first.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

from opusfilter.opusfilter import OpusFilter

_SCRIPTS = {"zh": "Han", "ja": "Han", "ru": "Cyrillic", "uk": "Cyrillic", "el": "Greek", "ar": "Arabic", "he": "Hebrew", "ko": "Hangul"}


def steps(source: str, target: str, languages: list[str], with_language: bool, folder: Path) -> list[dict[str, object]]:
    """Return the filters of OpusFilter that correspond to those of textmill."""
    filters: list[dict[str, object]] = [
        {"LengthFilter": {"unit": "char", "min_length": 1, "max_length": 500}},
        {"LengthRatioFilter": {"unit": "char", "threshold": 8}},
        {"LongWordFilter": {"threshold": 60}},
        {"HtmlTagFilter": {}},
        {"NonZeroNumeralsFilter": {"threshold": 0.5}},
        {"SimilarityFilter": {"threshold": 0.9}},
        {"RepetitionFilter": {}},
        {"CharacterScoreFilter": {"scripts": [_SCRIPTS.get(code, "Latin") for code in languages], "thresholds": [0.5, 0.5]}},
        {"AlphabetRatioFilter": {"threshold": 0.5}},
        {"TerminalPunctuationFilter": {"threshold": -3}},
    ]
    if with_language:
        filters.append({"LinguaFilter": {"languages": languages, "thresholds": [0.5, 0.5], "lingua_mode": "low"}})
    unique = [str(folder / f"unique.{side}") for side in ("source", "target")]
    return [
        {"type": "remove_duplicates", "parameters": {"inputs": [source, target], "outputs": unique}},
        {
            "type": "filter",
            "parameters": {
                "inputs": unique,
                "outputs": [str(folder / f"kept.{side}") for side in ("source", "target")],
                "filters": filters,
            },
        },
    ]


def timed(source: str, target: str, languages: list[str], with_language: bool, folder: Path) -> dict[str, float]:
    """Run the filters. Returns wall-clock seconds, CPU seconds, and the number of kept rows."""
    configuration = {
        "common": {"output_directory": str(folder)},
        "steps": steps(source, target, languages, with_language, folder),
    }
    wall, cpu = time.perf_counter(), time.process_time()
    OpusFilter(configuration).execute_steps(overwrite=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    kept = (folder / "kept.source").read_text(encoding="utf-8").count("\n")
    return {"seconds": wall, "cpu_seconds": cpu, "kept": kept}


def main(arguments: list[str]) -> None:
    source, target, first, second, name = arguments
    logging.disable(logging.CRITICAL)
    folder = Path(name)
    few = [folder / f"few.{side}" for side in ("source", "target")]
    for path, part in zip((source, target), few, strict=True):
        with Path(path).open(encoding="utf-8", newline="\n") as file:
            part.write_text("".join(line for _, line in zip(range(300), file, strict=False)), encoding="utf-8")
    timed(str(few[0]), str(few[1]), [first, second], True, folder)  # loads the models
    result = {
        "rules": timed(source, target, [first, second], False, folder),
        "with_language": timed(source, target, [first, second], True, folder),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
