"""generation.json of an exported model: the decoding settings, the tasks, and what a task needs besides them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.decode.settings import DecodeSettings
from textmill.settings.schema import build


@dataclass(frozen=True)
class Generation:
    """What generation.json says. Only tasks is required in the file; settings that it leaves out have their defaults.

    decode: for all tasks.
    tasks: that the model was trained for; [""] if it knows one only.
    labels: the possible outputs of a task that is a classification.
    of_tasks: decoding settings that differ for a task.
    about: kind and languages of each task (TaskSettings).
    turn_separator: between the turns of a dialogue; None if the model was not trained on dialogue.
    """

    decode: DecodeSettings
    tasks: list[str] = field(default_factory=lambda: [""])
    labels: dict[str, list[str]] = field(default_factory=dict)
    of_tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    turn_separator: str | None = None
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    def decode_of(self, task: str) -> DecodeSettings:
        """Return the decoding settings of a task."""
        return replace(self.decode, **self.of_tasks.get(task, {}))


def read_generation(path: Path) -> Generation:
    """Read generation.json. Raises UserError if a key has a wrong form."""
    content = read_json(path)
    if not isinstance(content, dict) or not _is_list_of_texts(content.get("tasks")):
        raise UserError(f"{path}: does not name the tasks of the model. Remove it and run `dvc checkout`.")
    tasks, labels, separator = content.pop("tasks"), content.pop("labels", {}), content.pop("turn_separator", None)
    of_tasks, about = content.pop("of_tasks", {}), content.pop("about", {})
    if not isinstance(labels, dict) or not all(_is_list_of_texts(each) for each in labels.values()):
        raise _wrong(path, "labels must be a list of texts per task.")
    if not isinstance(of_tasks, dict) or not all(isinstance(own, dict) for own in of_tasks.values()):
        raise _wrong(path, "of_tasks must have settings per task.")
    if not (separator is None or (isinstance(separator, str) and separator)):
        raise _wrong(path, "turn_separator must be a text.")
    if not isinstance(about, dict) or not all(isinstance(each, dict) for each in about.values()):
        raise _wrong(path, "about must have kind and languages per task.")
    for key, mapping in (("labels", labels), ("of_tasks", of_tasks), ("about", about)):
        if unknown := sorted(set(mapping) - set(tasks)):
            raise _wrong(path, f"{key} names the task {unknown[0]!r}, which is not in tasks.")
    for own in of_tasks.values():
        built_decode(content | own, str(path))
    return Generation(built_decode(content, str(path)), tasks, labels, of_tasks, separator, about)


def built_decode(values: Mapping[str, Any], name: str) -> DecodeSettings:
    """Build the settings. Raises UserError with a line that begins with `name`."""
    try:
        return build(DecodeSettings, values, "generation")
    except UserError as error:
        raise _wrong(name, str(error).removeprefix("params.yaml: ")) from None


def _wrong(path: object, reason: str) -> UserError:
    return UserError(f"{path}: {reason} Remove it and run `dvc checkout`.")


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)
