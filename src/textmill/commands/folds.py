"""Write the fold lists in dvc.yaml from split.folds in params.yaml.

dvc.yaml contains the fold numbers themselves. If DVC inserted values of params.yaml into commands, the shell would run whatever they
contain.
A line with a file of fold 0 (`models/train/0/`, `data/evaluate/fold-0/`) is repeated for each fold, and lines of other folds are
removed. Everything else, including comments and order, stays byte for byte the same.
"""

from __future__ import annotations

from pathlib import Path

from textmill.base.errors import UserError
from textmill.base.files import write_text
from textmill.pipeline.fold_lists import ENSEMBLE, FOLD, MATRIX
from textmill.settings.params_file import read_params
from textmill.split.settings import SplitSettings


def with_folds(pipeline: str, folds: list[int]) -> str:
    """Return the text of dvc.yaml with exactly `folds` in every list."""
    lines = []
    for line in pipeline.split("\n"):
        if command := ENSEMBLE.match(line):
            lines.append(" ".join([command[1], *(f"models/train/{fold}/model.safetensors" for fold in folds)]))
        elif matrix := MATRIX.match(line):
            lines.append(f"{matrix[1]}[{', '.join(map(str, folds))}]")
        elif named := FOLD.search(line):
            lines += [FOLD.sub(str(fold), line) for fold in folds if named[0] == "0"]
        else:
            lines.append(line)
    return "\n".join(lines)


def main() -> int:
    path = Path("dvc.yaml")
    params = read_params(Path("params.yaml"))
    split = params.get("split", {}) if isinstance(params, dict) else None
    folds = split.get("folds", SplitSettings().folds) if isinstance(split, dict) else None
    if not isinstance(folds, list) or not folds or not all(type(fold) is int for fold in folds) or folds != list(range(len(folds))):
        raise UserError("split.folds in params.yaml must be 0, 1, 2, ... in order.")
    write_text(path, with_folds(path.read_text(encoding="utf-8"), folds))
    return 0
