"""The lists of folds in dvc.yaml, rewritten from split.folds in params.yaml: what `make folds` runs.

    python -m scripts.fold_lists

A line that names fold 0 (`split.folds[0]`, `fold-0:`) stands for those of all folds: the lines of other folds beside it go,
and it is repeated for each. Everything else, comments and order too, stays byte for byte.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

from textmill import command
from textmill.files import write_text

_FOLD = re.compile(r"(?<=\$\{split\.folds\[)\d+(?=\]\})")
_SYSTEM = re.compile(r"^( *fold-)(\d+)(: models/train/)(\d+)(/.*)$")
_ENSEMBLE = re.compile(r"^( *cmd: python -m stages\.evaluate ensemble) .*$")


def with_folds(pipeline: str, folds: list[int]) -> str:
    """The text of dvc.yaml with exactly `folds` in every list."""
    lines = []
    for line in pipeline.split("\n"):
        if command := _ENSEMBLE.match(line):
            lines.append(" ".join([command[1], *(f"models/train/${{split.folds[{fold}]}}/model.safetensors" for fold in folds)]))
        elif system := _SYSTEM.match(line):
            lines += [_SYSTEM.sub(rf"\g<1>{fold}\g<3>{fold}\g<5>", line) for fold in folds if system[2] == "0"]
        elif named := _FOLD.search(line):
            lines += [_FOLD.sub(str(fold), line) for fold in folds if named[0] == "0"]
        else:
            lines.append(line)
    return "\n".join(lines)


def main() -> int:
    path = Path("dvc.yaml")
    folds = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["split"]["folds"]
    if not isinstance(folds, list) or folds != list(range(len(folds))) or not folds:
        print("folds: split.folds in params.yaml must be 0, 1, 2, ... in order.", file=sys.stderr)
        return 2
    write_text(path, with_folds(path.read_text(encoding="utf-8"), folds))
    return 0


if __name__ == "__main__":
    command.run("folds", main)
