"""Evaluate one system on the test set: outputs, scores and speed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings
from textmill.decode.translate import encode_sources, translate
from textmill.evaluate.scoring import Evaluation, Outputs, only_texts, score_outputs
from textmill.tasks.settings import TaskSettings, settings_of_task
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer

_SPEED_TEXTS, _SPEED_SINGLE_TEXTS = 200, 30


def evaluate_engine(
    engine: Engine, tokenizer: Tokenizer, evaluation: Evaluation, decode: DecodeSettings
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Decode the test set with an engine, each task by its own method, and score the outputs.

    Returns the same as `score_outputs`, plus loss and perplexity of the references and the number of sources that were cut.
    """
    test = evaluation.test
    sources = with_tasks(test["source"], test["task"])
    encoded = encode_sources(sources, tokenizer)
    losses = reference_log_probabilities(engine, tokenizer, test)
    texts = [""] * len(test)
    probabilities: list[list[float]] = [[] for _ in texts]
    for name, task in evaluation.tasks.items():
        rows = np.flatnonzero(test["task"] == name).tolist()
        found = decoded(engine, tokenizer, [sources[row] for row in rows], decode_settings(decode, task), evaluation.labels.get(name))
        for row, text, of_labels in zip(rows, found.texts, found.probabilities, strict=True):
            texts[row], probabilities[row] = text, of_labels
    scored = [each or [] for each in losses]
    metrics, predictions = score_outputs(evaluation, Outputs(texts, probabilities, scored))
    cut = sum(len(ids) > decode.max_tokens for ids in encoded)
    return metrics | loss_of(losses) | {"truncated_sources": cut}, predictions


def decode_settings(decode: DecodeSettings, task: TaskSettings, key: str = "tasks") -> DecodeSettings:
    """Return the decoding settings of a task: those of all tasks, with the method of its kind and its own differences."""
    return settings_of_task(decode, task.decode, {}, f"{key}.decode")


def decoded(engine: Engine, tokenizer: Tokenizer, sources: Sequence[str], decode: DecodeSettings, labels: Sequence[str] | None) -> Outputs:
    """Decode sources of one task. labels: of the task, for the method labels."""
    return only_texts(translate(sources, tokenizer, engine, decode))


def reference_log_probabilities(engine: Engine, tokenizer: Tokenizer, test: pd.DataFrame) -> list[list[float] | None]:
    """Return, per row, the natural-log probability of each token of the reference and of END; None for a pair that is longer than the
    learned positions of the model."""
    pairs = list(zip(*tokenizer.encode_pairs(with_tasks(test["source"], test["task"]), test["target"].tolist()), strict=True))
    fitting = [row for row, pair in enumerate(pairs) if engine.can_score(*pair)]
    scores = engine.score([pairs[row][0] for row in fitting], [pairs[row][1] for row in fitting]) if fitting else []
    found: list[list[float] | None] = [None] * len(pairs)
    for row, score in zip(fitting, scores, strict=True):
        found[row] = score
    return found


def loss_of(log_probabilities: Sequence[list[float] | None]) -> dict[str, float]:
    """Return the cross entropy in nats per token, END included, and the perplexity. `unscored_pairs` counts pairs without, if there are any."""
    scores = [each for each in log_probabilities if each is not None]
    unscored: dict[str, float] = {"unscored_pairs": len(log_probabilities) - len(scores)} if len(scores) < len(log_probabilities) else {}
    if not scores:
        return unscored
    loss = -sum(map(math.fsum, scores)) / sum(map(len, scores))
    return {"loss": loss, "perplexity": math.exp(min(loss, 700))} | unscored


def engine_speed(engine: Engine, tokenizer: Tokenizer, sources: Sequence[str], decode: DecodeSettings) -> dict[str, float]:
    """Measure sentences and output tokens per second, tokenization included, in batches of decode.batch_size and one by one.

    The first sources are used: 200 in batches, 30 one by one. The result depends on the machine and its load, so it is not reproducible.
    """
    batch = _timed(lambda: _decoded_tokens(engine, tokenizer, sources[:_SPEED_TEXTS], decode))
    single = _timed(lambda: _decoded_tokens(engine, tokenizer, sources[:_SPEED_SINGLE_TEXTS], replace(decode, batch_size=1)))
    return {
        "batch_size": decode.batch_size,
        "sentences_per_second": min(len(sources), _SPEED_TEXTS) / batch[1],
        "tokens_per_second": batch[0] / batch[1],
        "sentences_per_second_one_by_one": min(len(sources), _SPEED_SINGLE_TEXTS) / single[1],
    }


def speed_script(system: str, speed: dict[str, float]) -> str:
    """Return a line of JavaScript that the report page loads. It is a separate file, because speed is not a reproducible output."""
    return f"textmillSpeed({json.dumps(system)}, {json.dumps(speed, sort_keys=True)});\n"


def _decoded_tokens(engine: Engine, tokenizer: Tokenizer, sources: Sequence[str], decode: DecodeSettings) -> int:
    return sum(len(best[0].tokens) + 1 for best in engine.translate(encode_sources(sources, tokenizer), decode))


def _timed(action: Callable[[], int]) -> tuple[int, float]:
    started = time.perf_counter()
    result = action()
    return result, max(time.perf_counter() - started, 1e-9)
