"""Measure how cleaning handles a file of labelled defects, with the settings of params.yaml.

    python benchmarks/cleaning_quality.py FILE.jsonl.gz --pair en-zh [--save metrics/cleaning.json]

The script prints a table per defect. The last line of the output is JSON, with these shares:

kept_clean         rows without a defect that are unchanged. A row dropped as a duplicate counts if another row has the same pair.
dropped_bad        rows with action drop that are gone. Of a cluster of duplicates, all rows but one must be gone.
repaired_exact     rows with action repair, without U+FFFD or private data, that become the clean pair. A row dropped as a duplicate counts
                   if another row has the clean pair.
lost_handled       rows with action repair that had lost text (U+FFFD), and are dropped or restored exactly
pii_masked         rows with private data that are dropped, or kept without it
pii_false_alarms   rows without a defect in which something was masked
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from labelled import plans_of_pair, read_rows, read_settings, write_pairs

from textmill.base.errors import UserError
from textmill.base.files import read_json, write_json
from textmill.base.tables import read_table
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.privacy import KINDS

_FIELDS = ("source", "target", "label", "action", "clean_source", "clean_target")
_DUPLICATES = ("duplicate", "near_duplicate")
_MASKS = [kind.mask for kind in KINDS.values()]
Pair = tuple[str, str]


class Outcome:
    """The result of cleaning per row: the pair, or the reason why it was dropped."""

    def __init__(self, rows: list[dict[str, Any]], pair: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            outputs = Outputs(folder / "kept.parquet", folder / "rejected.parquet", folder / "samples.json")
            write_pairs(rows, folder / "pairs.parquet")
            self.metrics = clean_corpus(folder / "pairs.parquet", outputs, read_settings(), plans_of_pair(pair))
            kept, rejected = read_table(outputs.kept), read_table(outputs.rejected)
        self.pairs: dict[int, Pair] = {
            line - 1: (source, target) for line, source, target in zip(kept["line"], kept["source"], kept["target"], strict=True)
        }
        self.reasons: dict[int, str] = {line - 1: reason for line, reason in zip(rejected["line"], rejected["reason"], strict=True)}
        self.folded = Counter(_folded(pair) for pair in self.pairs.values())

    def is_kept_as(self, place: int, pair: Pair) -> bool:
        """True if the row has become `pair`, or was dropped as a duplicate of a row with the same pair."""
        if place in self.pairs:
            return self.pairs[place] == pair
        return self.reasons[place] in _DUPLICATES and self.folded[_folded(pair)] > 0

    def is_gone(self, place: int, row: dict[str, Any], pair: Pair) -> bool:
        """True if the row was dropped. A duplicate also counts if no other row has the same pair any more."""
        return place in self.reasons or (row["label"].startswith("dup") and self.folded[_folded(pair)] == 1)


def _folded(pair: Pair) -> Pair:
    source, target = ("".join(character for character in text.casefold() if character.isalnum()) for text in pair)
    return source, target


def rates(rows: list[dict[str, Any]], outcome: Outcome) -> dict[str, float | None]:
    """Return the six shares, from 0 to 1; None if there is no such row."""
    places = range(len(rows))
    clean = [(row["clean_source"], row["clean_target"]) for row in rows]
    ok = [place for place in places if rows[place]["action"] == "keep"]
    drop = [place for place in places if rows[place]["action"] == "drop"]
    private = [place for place in places if rows[place]["label"] == "pii"]
    repair = [place for place in places if rows[place]["action"] == "repair" and rows[place]["label"] != "pii"]
    lost = [place for place in repair if "\ufffd" in rows[place]["source"] + rows[place]["target"]]
    whole = sorted(set(repair) - set(lost))
    return {
        "kept_clean": _share(outcome.is_kept_as(place, clean[place]) for place in ok),
        "dropped_bad": _share(outcome.is_gone(place, rows[place], clean[place]) for place in drop),
        "repaired_exact": _share(outcome.is_kept_as(place, clean[place]) for place in whole),
        "lost_handled": _share(place in outcome.reasons or outcome.pairs[place] == clean[place] for place in lost),
        "pii_masked": _share(place in outcome.reasons or _is_masked(rows[place], outcome.pairs[place]) for place in private),
        "pii_false_alarms": _share(_num_masks(outcome.pairs.get(place, ("", ""))) > _num_masks(clean[place]) for place in ok),
    }


def _is_masked(row: dict[str, Any], pair: Pair) -> bool:
    """True if both sides have a mask, and neither contains the private data that was appended to the clean text."""
    return all(
        any(mask in text for mask in _MASKS) and row[side].removeprefix(row[f"clean_{side}"]).strip() not in text
        for side, text in zip(("source", "target"), pair, strict=True)
    )


def _num_masks(pair: Pair) -> int:
    return sum(text.count(mask) for text in pair for mask in _MASKS)


def _share(verdicts: Any) -> float | None:
    listed = list(verdicts)
    return round(sum(listed) / len(listed), 4) if listed else None


def table(rows: list[dict[str, Any]], outcome: Outcome) -> list[dict[str, Any]]:
    """Return a line per defect and action: number of rows, rows equal to the clean pair, other rows, dropped rows, main reasons."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[row["label"], row["action"]].append(place)
    lines = []
    for (label, action), places in sorted(groups.items(), key=lambda each: (["keep", "repair", "drop"].index(each[0][1]), each[0])):
        reasons = Counter(outcome.reasons[place] for place in places if place in outcome.reasons)
        exact = sum(outcome.pairs.get(place) == (rows[place]["clean_source"], rows[place]["clean_target"]) for place in places)
        lines.append(
            {
                "defect": label,
                "should": action,
                "rows": len(places),
                "clean": exact,
                "other": len(places) - exact - reasons.total(),
                "gone": reasons.total(),
                "reasons": ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(4)),
            }
        )
    return lines


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--pair", required=True, help="language codes of source and target, such as en-zh")
    parser.add_argument("--save", type=Path, help="JSON file to add the rates to, under the name of the data set")
    options = parser.parse_args(arguments)
    rows = read_rows(options.file, _FIELDS)
    outcome = Outcome(rows, options.pair)
    print("| defect | should | rows | clean pair | other text | gone | reasons |\n|---|---|---|---|---|---|---|")
    for line in table(rows, outcome):
        print("| " + " | ".join(str(value) for value in line.values()) + " |")
    for warning in outcome.metrics["warnings"]:
        print(f"warning: {warning}")
    result = rates(rows, outcome)
    if options.save:
        saved = read_json(options.save) if options.save.exists() else {}
        write_json(options.save, saved | {options.file.resolve().parent.name: result | {"rows": len(rows)}})
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"cleaning_quality: {error}")
