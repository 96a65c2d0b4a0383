"""Compare the repairs of textmill with ftfy, on broken texts with known originals.

    python benchmarks/cleaning_mojibake.py FILE.jsonl.gz [--save metrics/cleaning.json]

A row has source (the broken text), target (the original) and group. Sources of the group `negative` are correct and must not change.
ftfy also straightens quotes and folds widths, which textmill does not do, so both outputs are compared after these steps (`folded`).
The last line of the output is JSON: ours, ftfy (share of correctly repaired rows), negative_changed (rows of the group `negative` that
textmill changed), negative (number of rows in that group).
"""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

import ftfy
from labelled import read_rows, read_settings

from textmill.base.errors import UserError
from textmill.base.files import read_json, write_json
from textmill.clean.repairs import Pair, chosen_repairs, repaired

_FOLDING = ftfy.TextFixerConfig(fix_encoding=False, unescape_html=True)


def folded(text: str) -> str:
    """Apply the other steps of ftfy without encoding repair, normalize white space, and remove control characters, which ftfy keeps."""
    visible = "".join(" " if unicodedata.category(each) == "Cc" else each for each in ftfy.fix_text(text, _FOLDING))
    return " ".join(visible.split())


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--save", type=Path, help="JSON file to add the rates to, under the name of the data set")
    options = parser.parse_args(arguments)
    rows = read_rows(options.file, ("source", "target", "group"))
    repairs = chosen_repairs(read_settings().repairs)
    right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    changed = 0
    for row in rows:
        ours = repaired(Pair(row["source"], ""), repairs, quick=True)[0].source
        alone = ftfy.fix_text(row["source"])
        right[row["group"]].append((folded(ours) == folded(row["target"]), folded(alone) == folded(row["target"])))
        changed += row["group"] == "negative" and folded(ours) != folded(row["target"])
    print("| group | rows | ours right | ftfy right |\n|---|---|---|---|")
    for group, verdicts in sorted(right.items()):
        print(f"| {group} | {len(verdicts)} | {sum(ours for ours, _ in verdicts)} | {sum(theirs for _, theirs in verdicts)} |")
    together = [verdict for verdicts in right.values() for verdict in verdicts]
    result = {
        "ours": round(sum(ours for ours, _ in together) / len(together), 4),
        "ftfy": round(sum(theirs for _, theirs in together) / len(together), 4),
        "negative": len(right["negative"]),
        "negative_changed": changed,
        "rows": len(rows),
    }
    if options.save:
        saved = read_json(options.save) if options.save.exists() else {}
        write_json(options.save, saved | {options.file.resolve().parent.name: result})
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"cleaning_mojibake: {error}")
