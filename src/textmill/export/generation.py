"""What the exported model has to know about its tasks: the optional keys of generation.json (serving/generation.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from textmill.base.errors import UserError
from textmill.collect.settings import SourceSettings
from textmill.decode.settings import DecodeSettings, decode_of
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.tasks.settings import Tasks, by_stored_name
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer


def generation_of(
    decode: DecodeSettings, tasks: Tasks, labels: Mapping[str, Sequence[str]], sources: Sequence[SourceSettings]
) -> dict[str, Any]:
    """Return kinds and languages, what differs between tasks, the labels, and the separator between the turns of a dialogue; without the keys that are empty.

    labels: of the tasks that have some, by name in tables. sources: collect.sources.
    Raises UserError if the sources of dialogues have several separators.
    """
    common = asdict(decode)
    of_tasks: dict[str, dict[str, Any]] = {}
    for name, task in by_stored_name(tasks).items():
        own = {key: value for key, value in asdict(decode_of(decode, task)).items() if value != common[key]}
        of_tasks |= {name: own} if own else {}
    separators = sorted({source.turn_separator for source in sources if source.format == "conversations"})
    if len(separators) > 1:
        raise UserError(f"collect.sources have {len(separators)} values of turn_separator, but a model can know only one. Use one.")
    about = {
        name: {"kind": task.kind, "source_language": task.source_language, "target_language": task.languages.target_language}
        for name, task in by_stored_name(tasks).items()
    }
    found = {"about": about, "of_tasks": of_tasks, "labels": dict(labels), "turn_separator": separators[0] if separators else None}
    return {key: value for key, value in found.items() if value}


def example_of(corpus: EncodedCorpus, tokenizer: Tokenizer, tasks: Tasks) -> str:
    """Return a source of the first task, without the name of the task."""
    name = next(iter(by_stored_name(tasks)))
    row = next(row for row in range(len(corpus)) if corpus.task_of(row) == name)
    return tokenizer.decode(corpus.source(row)).removeprefix(with_tasks([""], [name])[0])
