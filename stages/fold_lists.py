"""dvc.yaml names each fold's files one by one; is none forgotten?"""

from __future__ import annotations

import re

from textmill.errors import UserError


def check_fold_lists(pipeline: str, num_folds: int) -> None:
    """Raise UserError unless the text of dvc.yaml names exactly the folds 0 to `num_folds` - 1 wherever it lists folds.

    A list that is too short would leave a fold out of the student or the mean without a word (DVC itself reports
    one that is too long).
    """
    wanted = set(range(num_folds))
    files = re.findall(r"^ *- (\S*\$\{split\.folds\[\d+\]\}\S*)", pipeline, flags=re.MULTILINE)
    named: dict[str, set[int]] = {}
    for file in files:
        pattern = re.sub(r"\$\{split\.folds\[\d+\]\}", "FOLD", file)
        named.setdefault(pattern, set()).add(int(re.findall(r"\[(\d+)\]", file)[0]))
    named["evaluate.foreach fold-FOLD"] = {int(fold) for fold in re.findall(r"^ *fold-(\d+): models", pipeline, flags=re.MULTILINE)}
    named["evaluate-ensemble.cmd"] = {int(fold) for fold in re.findall(r"\[(\d+)\]", _ensemble_command(pipeline))}
    for pattern, folds in named.items():
        if folds != wanted:
            raise UserError(
                f"dvc.yaml: {pattern} is listed for folds {sorted(folds)}, but split.folds in params.yaml is {sorted(wanted)}."
                " Run `make folds`."
            )


def _ensemble_command(pipeline: str) -> str:
    return "".join(re.findall(r"^ *cmd: python -m stages\.evaluate ensemble .*$", pipeline, flags=re.MULTILINE))
