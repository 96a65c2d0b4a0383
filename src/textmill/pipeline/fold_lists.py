"""Check the lists of fold files in dvc.yaml."""

from __future__ import annotations

import re

from textmill.base.errors import UserError

# Lines of dvc.yaml with the file of one fold, with the files of all folds in one command, and with the list of folds.
FOLD = re.compile(r"(?<=models/train/)\d+(?=/)|(?<=data/evaluate/fold-)\d+(?=/)|(?<= fold-)\d+(?=: models/train/)")
ENSEMBLE = re.compile(r"^( *cmd: python -m stages\.evaluate ensemble) (.*)$", re.MULTILINE)
MATRIX = re.compile(r"^( *fold: )(.*)$", re.MULTILINE)


def check_fold_lists(pipeline: str, num_folds: int) -> None:
    """Raise UserError unless every list in the text of dvc.yaml has exactly the folds 0 to `num_folds` - 1.

    With a list that is too short, a fold would silently be missing from the student or the mean. DVC itself reports a list that is
    too long.
    """
    wanted = set(range(num_folds))
    named: dict[str, set[int]] = {}
    stage = ""
    for line in pipeline.split("\n"):
        stage = line.strip().removesuffix(":") if re.fullmatch(r"  \S+:", line) else stage
        if not (ENSEMBLE.match(line) or MATRIX.match(line)) and (folds := {int(fold) for fold in FOLD.findall(line)}):
            pattern = FOLD.sub("FOLD", line).strip().removeprefix("- ")
            named.setdefault(f"{stage}: {pattern}", set()).update(folds)
    named["evaluate-ensemble: cmd"] = {int(fold) for _, command in ENSEMBLE.findall(pipeline) for fold in FOLD.findall(command)}
    named["train: matrix.fold"] = {int(fold) for _, folds in MATRIX.findall(pipeline) for fold in re.findall(r"\d+", folds)}
    for pattern, folds in named.items():
        if folds != wanted:
            raise UserError(
                f"dvc.yaml: {pattern} is listed for folds {sorted(folds)}, but split.folds in params.yaml is {sorted(wanted)}."
                " Run `make folds`."
            )
