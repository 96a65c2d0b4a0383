"""The exported model for users: text in, text out, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.settings import DecodeSettings
from textmill.decode.translate import translate
from textmill.serving.manifest import MODEL_FILES, require_as_listed
from textmill.settings.schema import build
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer


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

    def translate(self, texts: Sequence[str], task: str = "", beam_size: int | None = None) -> list[str]:
        """The best output of every text, in order.

        task: one of `tasks`; may be left out where there is one only. beam_size: another than the exported one.
        Raises UserError for a task that the model was not trained for.
        """
        decode = self.decode if beam_size is None else replace(self.decode, beam_size=beam_size)
        sources = with_tasks(texts, [self._known(task)] * len(texts))
        return translate(sources, self.tokenizer, self.engine, decode)

    def _known(self, task: str) -> str:
        if task in self.tasks:
            return task
        if not task and len(self.tasks) == 1:
            return self.tasks[0]
        known = ", ".join(f"'{each}'" for each in self.tasks if each) or "none: it was trained without names of tasks"
        raise UserError(f"task '{task}' is not known to this model. Known: {known}.")


def _read_generation(path: Path) -> tuple[DecodeSettings, list[str]]:
    generation = read_json(path)
    tasks = generation.pop("tasks", None) if isinstance(generation, dict) else None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
        raise UserError(f"{path}: does not name the tasks of the model. Remove it and run `dvc checkout`.")
    try:
        return build(DecodeSettings, generation, "generation"), tasks
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix('params.yaml: ')} Remove it and run `dvc checkout`.") from None
