"""Put the name of the task before each source, so that one model can learn several tasks (Raffel et al. 2020, section 2.4)."""

from __future__ import annotations

from collections.abc import Iterable


def with_tasks(sources: Iterable[str], tasks: Iterable[str]) -> list[str]:
    """Return the sources with their tasks: "TASK: source", or only the source if the task is empty.

    Tokenizer, encoding, evaluation and serving all use this function.
    """
    return [f"{task}: {source}" if task else source for source, task in zip(sources, tasks, strict=True)]
