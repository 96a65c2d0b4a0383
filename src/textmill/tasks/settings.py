"""Section tasks of params.yaml: what one model learns to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from textmill.base.errors import UserError
from textmill.settings.schema import build, require
from textmill.tasks.kind import TaskKind
from textmill.tasks.kinds import KINDS
from textmill.tasks.languages import LanguageSettings

T = TypeVar("T")
UNNAMED = ""  # the name of the only task in tables and in the exported model: nothing is put before its sources


@dataclass(frozen=True)
class TaskSettings:
    """Settings of one task; its name is the key. One task needs no name in `collect.sources`. If there are several, each source names its
    task, and "NAME: " is put before every text, so that the model knows what to do.

    kind: what is special about the task: how it is cleaned, decoded, scored and distilled. docs/tasks.md lists the kinds.
    source_language, target_language: language codes, such as en (ISO 639-1). `zh` is simplified or traditional Chinese, `yue` is
        written Cantonese, and `und` (undetermined) is for text in no language, such as code. Empty: the target is in the language of
        the source; labels are in none.
    clean: settings of `clean` that differ for this task, such as `filters: {max_characters: 2000}`.
    decode: settings of `decode` that differ for this task.
    """

    source_language: str
    kind: str = "translation"
    target_language: str = ""
    clean: dict[str, Any] = field(default_factory=dict)
    decode: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.kind in KINDS, f"kind: is {self.kind!r}, but must be one of: {', '.join(KINDS)}.")
        for name, code in (("source_language", self.source_language), ("target_language", self.target_language or "und")):
            require(code.isascii() and code.islower() and 2 <= len(code) <= 3, f"{name}: {code!r} is not a language code such as en or zh.")
        require(
            bool(self.target_language) or not self.special.is_between_languages,
            "target_language: is missing. A translation needs one, such as zh.",
        )

    @property
    def special(self) -> TaskKind:
        """Everything that is special about the kind."""
        return KINDS[self.kind]

    @property
    def languages(self) -> LanguageSettings:
        """The languages of both sides."""
        default = "und" if self.special.target_is_label else self.source_language
        return LanguageSettings(self.source_language, self.target_language or default)


Tasks = Mapping[str, TaskSettings]


def require_names(names: Iterable[str]) -> None:
    """Raise UserError for a name of a task that cannot be put before a source.

    The tokenizer would replace identifiers such as qa_zh by slots (tokenizer/protection.py), and hide the task from the model.
    """
    for name in names:
        words = name.replace("-", " ").split(" ")
        if not all(word.isalpha() and word == word.lower() for word in words):
            raise UserError(f"params.yaml: tasks.{name}: use only lower-case letters, single spaces and hyphens in the name of a task.")


def stored_name(name: str, tasks: Tasks) -> str:
    """Return the name of a task as tables have it: UNNAMED if it is the only one.

    name: `task` of a source; may be empty if there is one task.
    Raises UserError for a name that is not in `tasks`.
    """
    if name not in tasks and not (name == UNNAMED and len(tasks) == 1):
        raise UserError(f"task {name!r} is not in params.yaml, tasks. Known: {', '.join(tasks)}.")
    return UNNAMED if len(tasks) == 1 else name


def task_of(stored: str, tasks: Tasks) -> TaskSettings:
    """Return the task with a name as tables have it."""
    return next(iter(tasks.values())) if stored == UNNAMED else tasks[stored]


def by_stored_name(tasks: Tasks) -> dict[str, TaskSettings]:
    """Return the tasks under their names in tables."""
    return {stored_name(name, tasks): task for name, task in tasks.items()}


def kinds_of(tasks: Tasks) -> dict[str, TaskKind]:
    """Return the kind of each task under its name in tables."""
    return {name: task.special for name, task in by_stored_name(tasks).items()}


def settings_of_task(section: T, own: Mapping[str, Any], off: Mapping[str, Iterable[str]], key: str) -> T:
    """Return a settings object with the differences of one task.

    section: the settings of all tasks. own: the differences, nested. off: names to switch off, by subsection; `own` wins.
    key: for messages, such as tasks.qa.clean. Raises UserError for an unknown key or a wrong value.
    """
    values = asdict(section)  # type: ignore[call-overload]
    for name, names in off.items():
        values[name] = {each: _off(value) if each in names else value for each, value in values[name].items()}
    return build(type(section), _merged(values, own, key), key)


def _off(value: Any) -> Any:
    return False if isinstance(value, bool) else 0


def _merged(values: dict[str, Any], own: Any, key: str) -> dict[str, Any]:
    if not isinstance(own, Mapping):
        raise UserError(f"params.yaml: {key} must be a mapping, not {own!r}.")
    nested = {name: _merged(values[name], value, f"{key}.{name}") for name, value in own.items() if isinstance(values.get(name), dict)}
    return values | dict(own) | nested


def first_languages(tasks: Tasks) -> LanguageSettings:
    """Return the languages of the first task."""
    return next(iter(tasks.values())).languages


def model_name(name: str, tasks: Tasks) -> str:
    """Return the name of the registered model: `export.name` or, if that is `auto`, one made from the languages of the only task, or from
    the names of the tasks."""
    if name != "auto":
        return name
    if len(tasks) > 1:
        return "-".join(["textmill", *(task.replace(" ", "-") for task in tasks)])
    ((task, settings),) = tasks.items()
    codes = settings.languages.codes() if settings.special.is_between_languages else (task.replace(" ", "-"), settings.source_language)
    return "-".join(["textmill", *codes])
