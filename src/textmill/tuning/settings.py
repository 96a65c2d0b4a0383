"""tune.yaml: what a search runs, how it judges, and over which keys of params.yaml it goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML, YAMLError

from textmill.base.errors import UserError
from textmill.settings.schema import build, require
from textmill.tuning.space import Dimension, read_space


@dataclass(frozen=True)
class SearchSettings:
    """How a search goes.

    stage: what a trial runs, with all that it depends on: train@0, or a later one, such as distill.
    metric: the number that a trial is judged by, as FILE:KEY, KEY with dots inside; FILE is an output of `stage`.
    direction: minimize or maximize it.
    per_text: multiply losses by target tokens a text (end symbols counted, data/encode/metrics.json): from nats a token to
        nats a text, which can be compared between tokenizers.
    trials: how many end before the search does, in all processes together, pruned and failed ones included.
    seed: what a trial draws is a function of it, of the trial's number, and of the trials that had ended before.
    startup_trials: this many are drawn at random before the sampler (TPE: Bergstra et al. 2011) and the pruner start.
    min_steps: no trial is pruned before this training step. Afterwards it is, if its best validation loss so far is worse
        than the median of the others' at the same step (the median rule of Golovin et al. 2017, section 3.2).
    """

    stage: str
    metric: str
    direction: Literal["minimize", "maximize"]
    per_text: bool
    trials: int
    seed: int
    startup_trials: int
    min_steps: int

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[\w@-]+", self.stage) is not None, "stage: must be the name of a stage, such as train@0.")
        require(re.fullmatch(r"[^:]+:[^:]+", self.metric) is not None, "metric: must be FILE:KEY.")
        for name in ("trials", "startup_trials"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        for name in ("seed", "min_steps"):
            require(getattr(self, name) >= 0, f"{name}: must be 0 or more.")

    @property
    def metric_file(self) -> Path:
        """Where the metric lies, relative to the root of the project."""
        return Path(self.metric.partition(":")[0])

    @property
    def metric_key(self) -> str:
        """Its name in that file, with dots where it is nested."""
        return self.metric.partition(":")[2]


@dataclass(frozen=True)
class Tune:
    """The whole of tune.yaml. space: by full key of params.yaml."""

    search: SearchSettings
    space: dict[str, Dimension]


def read_tune(path: Path, params: Mapping[str, Any]) -> Tune:
    """Read tune.yaml and check it against `params`, the whole of params.yaml.

    Raises UserError if the file is missing or damaged, for an unknown key (naming the nearest known one), a range or
    choice that params.yaml could not hold, and for a loss a token that is to be compared between tokenizers.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name}: no such file. docs/tuning.md has an example.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name}: not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, Mapping) or set(content) != {"search", "space"}:
        raise UserError(f"{path.name}: must have the two sections search and space, and no other.")
    try:
        search = build(SearchSettings, content["search"], "search")
    except UserError as error:
        raise UserError(str(error).replace("params.yaml: ", f"{path.name}: ", 1)) from None
    space = read_space(content["space"], params, path.name)
    is_loss_a_token = search.metric_key.endswith("loss") and not search.per_text
    for key in space:
        if key.startswith("tokenizer.") and is_loss_a_token:
            raise UserError(f"{path.name}: {key} changes what a token is, so losses a token say nothing. Set search.per_text to true.")
    return Tune(search, space)
