"""The exported model for users: text in, text out, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.settings import DecodeSettings
from textmill.decode.translate import Translation, translate_with_scores
from textmill.serving.manifest import MODEL_FILES, require_as_listed
from textmill.settings.schema import build
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer

_SHOWN = 40  # characters of a value in a message
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = Translation("", 0.0, False, False)


class Translator:
    """A model folder with its tokenizer and search settings. tasks: that it was trained for; [""] if it knows one only."""

    def __init__(self, engine: CTranslate2Engine, tokenizer: Tokenizer, decode: DecodeSettings, tasks: Sequence[str] = ("",)) -> None:
        self.engine, self.tokenizer, self.decode, self.tasks = engine, tokenizer, decode, list(tasks)

    @classmethod
    def load(cls, folder: Path | str, num_threads: int = 1) -> Translator:
        """Load an exported folder. Raises UserError if a file is missing or differs from what manifest.json says, or the latter is damaged."""
        folder = Path(folder)
        require_as_listed(folder, MODEL_FILES)
        decode, tasks = _read_generation(folder / "generation.json")
        return cls(CTranslate2Engine(folder, num_threads=num_threads), Tokenizer.load(folder / "tokenizer.model"), decode, tasks)

    def translate(self, texts: Iterable[str], task: str = "", beam_size: int | None = None) -> list[str]:
        """Return the best output per text, in order. The output of a blank text is "".

        texts: a list of strings.
        task: one of `tasks`; can be left out if there is only one.
        beam_size: replaces the exported one; from 1 (greedy) to the size of the vocabulary.
        Raises UserError for a single string, for an item that is not a string, and for an unknown task or beam size.
        """
        return [translation.text for translation in self.translate_with_scores(texts, task, beam_size)]

    def translate_with_scores(self, texts: Iterable[str], task: str = "", beam_size: int | None = None) -> list[Translation]:
        """Return what `translate` returns, with scores and whether source or output was truncated; see Translation."""
        checked = require_texts(texts, "texts")
        decode, task = self._with_beam_size(beam_size), self._known(task)
        rows = [row for row, text in enumerate(checked) if text.strip()]
        sources = with_tasks([checked[row] for row in rows], [task] * len(rows))
        translations = [_BLANK] * len(checked)
        for row, translation in zip(rows, translate_with_scores(sources, self.tokenizer, self.engine, decode), strict=True):
            translations[row] = translation
        return translations

    def _with_beam_size(self, beam_size: int | None) -> DecodeSettings:
        if beam_size is None:
            return self.decode
        largest = len(self.tokenizer.pieces)
        if isinstance(beam_size, bool) or not isinstance(beam_size, int) or not 1 <= beam_size <= largest:
            raise UserError(f"beam_size is {shown(beam_size)}, but must be a whole number from 1 to {largest}, the size of the vocabulary.")
        return replace(self.decode, beam_size=beam_size)

    def _known(self, task: str) -> str:
        if task in self.tasks:
            return task
        if not task and len(self.tasks) == 1:
            return self.tasks[0]
        known = ", ".join(f"'{each}'" for each in self.tasks if each) or "none: it was trained without names of tasks"
        raise UserError(f"task {shown(task)} is not known to this model. Known: {known}.")


def require_texts(texts: Any, name: str) -> list[str]:
    """Return `texts` as a list. Raise UserError unless it is an iterable of strings. name: of the argument, for the message."""
    if isinstance(texts, str):
        raise UserError(f"{name} is a single string. Pass a list of strings, such as [{shown(texts)}].")
    if isinstance(texts, bytes | Mapping) or hasattr(texts, "columns") or not isinstance(texts, Iterable):
        raise UserError(f"{name} is {_kind(texts)}. Pass a list of strings.")
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise UserError(f"{name}[{position}] is {_kind(text)}, not a string. Pass a list of strings.")
        if not text.isascii() and _LONE_SURROGATE.search(text):
            raise UserError(f"{name}[{position}] contains a lone surrogate (half of a character in UTF-16). Remove it.")
    return listed


def shown(value: object) -> str:
    """A value for a message: one line, at most 40 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _kind(value: object) -> str:
    return "None (null)" if value is None else f"of type {type(value).__name__}"


def _read_generation(path: Path) -> tuple[DecodeSettings, list[str]]:
    generation = read_json(path)
    tasks = generation.pop("tasks", None) if isinstance(generation, dict) else None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
        raise UserError(f"{path}: does not name the tasks of the model. Remove it and run `dvc checkout`.")
    try:
        return build(DecodeSettings, generation, "generation"), tasks
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix('params.yaml: ')} Remove it and run `dvc checkout`.") from None
