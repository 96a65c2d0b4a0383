"""How the rows of each task are cleaned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from textmill.clean.settings import CleanSettings, settings_of
from textmill.tasks.languages import LanguageSettings
from textmill.tasks.settings import Tasks, by_stored_name

Item = TypeVar("Item")


class TaskPlan(NamedTuple):
    """The settings and languages of one task."""

    clean: CleanSettings
    languages: LanguageSettings


Plans = Mapping[str, TaskPlan]  # by the name of the task in tables


def plans_of(clean: CleanSettings, tasks: Tasks) -> dict[str, TaskPlan]:
    """Return the plan of each task: the settings of all tasks, without what makes no sense for its kind, with its own differences.

    Raises UserError for a wrong setting of a task.
    """
    names = dict(zip(by_stored_name(tasks), tasks, strict=True))
    return {stored: TaskPlan(settings_of(clean, tasks, name), tasks[name].languages) for stored, name in names.items()}


def places_by_task(tasks: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each task with the indices of its rows, ascending."""
    names = np.array(tasks, dtype=object)
    for task in dict.fromkeys(tasks):
        yield task, np.flatnonzero(names == task)


def put(values: Sequence[Item], places: np.ndarray, into: list[Item]) -> None:
    """Write values to their places in a list."""
    for place, value in zip(places.tolist(), values, strict=True):
        into[place] = value
