"""The keys of params.yaml that a search may change, and the values that they may take."""

from __future__ import annotations

import copy
import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import Trial

from textmill.base.errors import UserError
from textmill.settings.tree import check_settings, with_defaults


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included. log: even in the logarithm. step: only low, low + step, ... is_whole: integers."""

    low: float
    high: float
    log: bool
    step: float | None
    is_whole: bool

    def suggest(self, trial: Trial, key: str) -> float:
        """A value for this trial."""
        if self.is_whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return float(self.restored(trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)))

    def stored(self, value: Any) -> Any:
        """`value` as the study stores it, or None if it is outside."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0.0
        return value if math.isclose(steps, round(steps), abs_tol=1e-6) else None

    def restored(self, value: Any) -> Any:
        """The value that the study stores as `value`: with four digits, which are enough, and can be read and typed."""
        return value if self.is_whole else float(min(max(float(f"{value:.4g}"), self.low), self.high))

    def extremes(self) -> list[Any]:
        """The values that have to be possible for all to be."""
        return [self.low, self.high]

    def description(self) -> list[Any]:
        """What makes it the same dimension as another."""
        return [self.low, self.high, self.log, self.step, self.is_whole]


@dataclass(frozen=True)
class Choices:
    """One of several values of any kind, lists included. A study stores them as JSON text, since Optuna takes scalars only."""

    values: list[Any]

    def suggest(self, trial: Trial, key: str) -> Any:
        """A value for this trial."""
        return self.restored(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))

    def stored(self, value: Any) -> Any:
        """`value` as the study stores it, or None if it is none of them."""
        same = [choice for choice in self.values if choice == value and isinstance(choice, bool) == isinstance(value, bool)]
        return json.dumps(same[0]) if same else None  # as the choice is written: 1 for a 1.0 of params.yaml

    def restored(self, value: Any) -> Any:
        """The value that the study stores as `value`."""
        return json.loads(value)

    def extremes(self) -> list[Any]:
        """The values that have to be possible for all to be."""
        return self.values

    def description(self) -> list[Any]:
        """What makes it the same dimension as another."""
        return self.values


Dimension = Range | Choices


def read_space(entries: Any, params: Mapping[str, Any], file: str) -> dict[str, Dimension]:
    """The dimensions by key. entries: `space` of tune.yaml; params: the whole of params.yaml.

    Settings that params.yaml leaves out, since they have a default or are inherited, can be searched too.

    Raises UserError, naming `file`, for a key that is no setting, a wrong range, or a value that
    params.yaml could not hold beside everything else that stands in it.
    """
    if not isinstance(entries, Mapping) or not entries:
        raise UserError(f"{file}: space must name at least one key of params.yaml.")
    full = with_defaults(params)
    leaves = dict(flattened(full))
    space: dict[str, Dimension] = {}
    for key, entry in entries.items():
        where = f"{file}: space.{key}"
        if key not in leaves and not _is_list(full, str(key)):
            raise UserError(f"{where}: {_nearest(str(key), leaves)}")
        space[key] = _dimension(entry, value_at(full, key), where)
        for value in space[key].extremes():
            try:
                check_settings(with_values(params, {key: value}))
            except UserError as error:
                raise UserError(f"{where}: {value!r} is not possible: {str(error).removeprefix('params.yaml: ')}") from None
    return space


def flattened(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All leaves as ("train.learning_rate", 0.002); entries of lists by their position, as "collect.sources.0.weight"."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for name, value in items:
        if isinstance(value, Mapping | list):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def value_at(params: Any, key: str) -> Any:
    """The value of a full key. Raises KeyError or IndexError if there is none."""
    for part in key.split("."):
        params = params[int(part) if isinstance(params, list) else part]
    return params


def with_values(params: Any, values: Mapping[str, Any]) -> Any:
    """A copy of `params` with some keys changed; comments of a round-trip YAML tree stay."""
    changed = copy.deepcopy(params)
    for key, value in values.items():
        *above, last = key.split(".")
        parent = value_at(changed, ".".join(above)) if above else changed
        parent[int(last) if isinstance(parent, list) else last] = value
    return changed


def _is_list(params: Mapping[str, Any], key: str) -> bool:
    try:
        return isinstance(value_at(params, key), list)
    except (KeyError, IndexError, TypeError, ValueError):
        return False


def _dimension(entry: Any, current: Any, where: str) -> Dimension:
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}: must be {{low: ..., high: ...}} or {{choices: [...]}}, not {entry!r}.")
    if "choices" in entry:
        values = entry["choices"]
        if len(entry) > 1 or not isinstance(values, list) or len(values) < 2:
            raise UserError(f"{where}: choices must be a list of two or more, with nothing beside it.")
        return Choices(values)
    if unknown := set(entry) - {"low", "high", "log", "step"}:
        raise UserError(f"{where}: unknown key {sorted(unknown)[0]}. Known keys: low, high, log, step, choices.")
    low: Any = entry.get("low")
    high: Any = entry.get("high")
    log, step = entry.get("log", False), entry.get("step")
    numbers = [low, high] if step is None else [low, high, step]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers):
        raise UserError(f"{where}: low and high must be numbers, and step too if it is there (write 1.0e-3, not 1e-3).")
    if not isinstance(current, int | float) or isinstance(current, bool):
        raise UserError(f"{where}: is {current!r} in params.yaml, no number. Use choices.")
    if not low < high:
        raise UserError(f"{where}: low must be below high.")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise UserError(f"{where}: log must be true or false; it needs a low above 0, and no step.")
    if step is not None and not 0 < step <= high - low:
        raise UserError(f"{where}: step must be above 0 and at most high - low.")
    is_whole = all(isinstance(number, int) for number in [*numbers, current])
    return Range(low, high, log, step, is_whole)


def _nearest(key: str, leaves: Mapping[str, Any]) -> str:
    below = [leaf for leaf in leaves if leaf.startswith(f"{key}.")]
    if below:
        return f"is a section; name one of its keys, such as {below[0]}."
    close = difflib.get_close_matches(key, list(leaves), n=1, cutoff=0.5)
    return f"params.yaml has no such key. Did you mean {close[0]}?" if close else "params.yaml has no such key."
