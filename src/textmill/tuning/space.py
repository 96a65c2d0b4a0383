"""The search space: the keys of params.yaml that a search varies, and their possible values."""

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
    """Numbers from low to high, both included.

    log: sample uniformly on a log scale.
    step: allow only low, low + step, ...
    is_whole: integers only.
    """

    low: float
    high: float
    log: bool
    step: float | None
    is_whole: bool

    def suggest(self, trial: Trial, key: str) -> float:
        """Draw a value for this trial."""
        if self.is_whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return float(self.restored(trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)))

    def stored(self, value: Any) -> Any:
        """Return `value` as the study stores it, or None if it is not in the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0.0
        return value if math.isclose(steps, round(steps), abs_tol=1e-6) else None

    def restored(self, value: Any) -> Any:
        """Return the value for params.yaml. Floats are rounded to four significant digits, so that they are easy to read and type."""
        return value if self.is_whole else float(min(max(float(f"{value:.4g}"), self.low), self.high))

    def extremes(self) -> list[Any]:
        """Return the values to check: if they are valid, all are."""
        return [self.low, self.high]

    def description(self) -> list[Any]:
        """Return what identifies the dimension. Equal dimensions have equal descriptions."""
        return [self.low, self.high, self.log, self.step, self.is_whole]


@dataclass(frozen=True)
class Choices:
    """One of several values of any type, lists included. The study stores them as JSON text, because Optuna accepts only scalars."""

    values: list[Any]

    def suggest(self, trial: Trial, key: str) -> Any:
        """Draw a value for this trial."""
        return self.restored(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))

    def stored(self, value: Any) -> Any:
        """Return `value` as the study stores it, or None if it is not one of the choices."""
        same = [choice for choice in self.values if choice == value and isinstance(choice, bool) == isinstance(value, bool)]
        return json.dumps(same[0]) if same else None  # as the choice is written in tune.yaml: 1 if params.yaml has 1.0

    def restored(self, value: Any) -> Any:
        """Return the value for params.yaml."""
        return json.loads(value)

    def extremes(self) -> list[Any]:
        """Return the values to check: all of them."""
        return self.values

    def description(self) -> list[Any]:
        """Return what identifies the dimension. Equal dimensions have equal descriptions."""
        return self.values


Dimension = Range | Choices


def read_space(entries: Any, params: Mapping[str, Any], file: str) -> dict[str, Dimension]:
    """Read the search space. Returns dimensions by key.

    entries: the section space of tune.yaml.
    params: the content of params.yaml. Settings that are not in it, because they have a default or are inherited, can be searched too.
    file: name of the file, for error messages.
    Raises UserError for an unknown key, a wrong range, or a value that is not valid together with the rest of params.yaml.
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
    """Yield all leaves as ("train.learning_rate", 0.002). Entries of lists have their index in the key: "collect.sources.0.weight"."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for name, value in items:
        if isinstance(value, Mapping | list):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def value_at(params: Any, key: str) -> Any:
    """Return the value of a full key. Raises KeyError or IndexError if there is none."""
    for part in key.split("."):
        params = params[int(part) if isinstance(params, list) else part]
    return params


def with_values(params: Any, values: Mapping[str, Any]) -> Any:
    """Return a copy of `params` with some values changed. Sections that it lacks are added. Comments of a round-trip YAML tree are kept."""
    changed = copy.deepcopy(params)
    for key, value in values.items():
        *above, last = key.split(".")
        parent = changed
        for part in above:
            parent = parent[int(part)] if isinstance(parent, list) else parent.setdefault(part, {})
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
            raise UserError(f"{where}: choices must be a list of two or more values, and the only key.")
        return Choices(values)
    if unknown := set(entry) - {"low", "high", "log", "step"}:
        raise UserError(f"{where}: unknown key {sorted(unknown)[0]}. Known keys: low, high, log, step, choices.")
    low: Any = entry.get("low")
    high: Any = entry.get("high")
    log, step = entry.get("log", False), entry.get("step")
    numbers = [low, high] if step is None else [low, high, step]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers):
        raise UserError(f"{where}: low, high and step must be numbers; step is optional (write 1.0e-3, not 1e-3).")
    is_auto = current == "auto"  # a number that the stage computes
    if not is_auto and (not isinstance(current, int | float) or isinstance(current, bool)):
        raise UserError(f"{where}: is {current!r} in params.yaml, which is not a number. Use choices.")
    if not low < high:
        raise UserError(f"{where}: low must be below high.")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise UserError(f"{where}: log must be true or false; log: true needs low above 0 and no step.")
    if step is not None and not 0 < step <= high - low:
        raise UserError(f"{where}: step must be above 0 and at most high - low.")
    is_whole = all(isinstance(number, int) for number in (numbers if is_auto else [*numbers, current]))
    return Range(low, high, log, step, is_whole)


def _nearest(key: str, leaves: Mapping[str, Any]) -> str:
    below = [leaf for leaf in leaves if leaf.startswith(f"{key}.")]
    if below:
        return f"is a section; name one of its keys, such as {below[0]}."
    close = difflib.get_close_matches(key, list(leaves), n=1, cutoff=0.5)
    return f"params.yaml has no such key. Did you mean {close[0]}?" if close else "params.yaml has no such key."
