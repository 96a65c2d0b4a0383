"""dvc.yaml names each fold's files one by one; is none forgotten?"""

from __future__ import annotations

import re

from textmill.base.errors import UserError

# Where a line of dvc.yaml names the file of a fold, has all of their files in one command, or has the list of folds itself.
FOLD = re.compile(r"(?<=models/train/)\d+(?=/)|(?<=data/evaluate/fold-)\d+(?=/)|(?<= fold-)\d+(?=: models/train/)")
ENSEMBLE = re.compile(r"^( *cmd: python -m stages\.evaluate ensemble) (.*)$", re.MULTILINE)
MATRIX = re.compile(r"^( *fold: )(.*)$", re.MULTILINE)


def check_fold_lists(pipeline: str, num_folds: int) -> None:
    """Raise UserError unless the text of dvc.yaml names exactly the folds 0 to `num_folds` - 1 wherever it lists folds.

    A list that is too short would leave a fold out of the student or the mean without a word (DVC itself reports
    one that is too long).
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
