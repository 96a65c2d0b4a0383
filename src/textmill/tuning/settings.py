"""tune.yaml: the settings of a search, and the keys of params.yaml that it varies."""

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
    """The section search of tune.yaml.

    stage: stage that a trial runs, with everything it depends on: train@0, or a later stage such as distill.
    metric: number that rates a trial, as FILE:KEY, with dots in KEY for nested values. FILE is an output of `stage`.
    direction: minimize or maximize the metric.
    per_text: multiply losses by the target tokens per text (END included; data/encode/metrics.json). This turns nats per token into
        nats per text, which can be compared between tokenizers.
    trials: number of trials that end before the search ends, in all processes together. Pruned and failed trials count.
    seed: random seed. The values of a trial depend on the seed, the number of the trial, and the trials that ended before it.
    startup_trials: number of random trials before the sampler (TPE, Bergstra et al. 2011) and the pruner start.
    min_steps: first training step at which a trial can be pruned. It is pruned if its best validation loss so far is worse than the
        median of the other trials at the same step (median stopping rule, Golovin et al. 2017, section 3.2).
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
        """The file with the metric, relative to the project folder."""
        return Path(self.metric.partition(":")[0])

    @property
    def metric_key(self) -> str:
        """The key of the metric in that file, with dots for nested values."""
        return self.metric.partition(":")[2]


@dataclass(frozen=True)
class Tune:
    """The content of tune.yaml. space: dimensions by full key of params.yaml."""

    search: SearchSettings
    space: dict[str, Dimension]


def read_tune(path: Path, params: Mapping[str, Any]) -> Tune:
    """Read tune.yaml and check it against `params`, the content of params.yaml.

    Raises UserError if the file is missing or damaged, for an unknown key (with the nearest known key), for a value that is not
    valid in params.yaml, and if a loss per token would be compared between different tokenizers.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name}: no such file. docs/tuning.md has an example.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name}: not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, Mapping) or set(content) != {"search", "space"}:
        raise UserError(f"{path.name}: must have exactly the two sections search and space.")
    try:
        search = build(SearchSettings, content["search"], "search")
    except UserError as error:
        raise UserError(str(error).replace("params.yaml: ", f"{path.name}: ", 1)) from None
    space = read_space(content["space"], params, path.name)
    is_loss_per_token = search.metric_key.endswith("loss") and not search.per_text
    for key in space:
        if key.startswith("tokenizer.") and is_loss_per_token:
            raise UserError(f"{path.name}: {key} changes the tokens, so losses per token cannot be compared. Set search.per_text to true.")
    return Tune(search, space)
