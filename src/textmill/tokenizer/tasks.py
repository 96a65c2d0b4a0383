"""The name of a task in front of its sources (Raffel et al. 2020, section 2.4), so that one model can tell several tasks apart."""

from __future__ import annotations

from collections.abc import Iterable


def with_tasks(sources: Iterable[str], tasks: Iterable[str]) -> list[str]:
    """Sources as the model reads them: "TASK: source", and the source alone where the task is empty.

    The only place where a task becomes text: tokenizer, encoding, evaluation and serving all come here.
    """
    return [f"{task}: {source}" if task else source for source, task in zip(sources, tasks, strict=True)]
