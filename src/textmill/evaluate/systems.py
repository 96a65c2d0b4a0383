"""Evaluate one system on the test set: outputs, scores and speed."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from textmill.decode.generate import Output, generate_n_best
from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings, decode_of
from textmill.evaluate.scoring import Evaluation, Outputs, score_outputs
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer

Result = TypeVar("Result")
_SPEED_TEXTS, _SPEED_SINGLE_TEXTS = 200, 30


def evaluate_engine(
    engine: Engine, tokenizer: Tokenizer, evaluation: Evaluation, decode: DecodeSettings
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Decode the test set with an engine, each task by its own method, and score the outputs.

    Returns the same as `score_outputs`, plus loss and perplexity of the references and the number of sources that were cut.
    """
    settings = _settings_of_tasks(tokenizer, evaluation, decode)
    losses = reference_log_probabilities(engine, tokenizer, evaluation.test, settings)
    outputs, probabilities = _all_decoded(engine, tokenizer, evaluation, settings)
    texts, truncated = [output.text for output in outputs], sum(output.is_source_truncated for output in outputs)
    metrics, predictions = score_outputs(evaluation, Outputs(texts, probabilities, [each or [] for each in losses]))
    return metrics | loss_of(losses) | {"truncated_sources": truncated}, predictions


def _settings_of_tasks(tokenizer: Tokenizer, evaluation: Evaluation, decode: DecodeSettings) -> dict[str, DecodeSettings]:
    return {name: replace(decode_of(decode, task), kept_tokens=tokenizer.task_tokens(name)) for name, task in evaluation.tasks.items()}


def _all_decoded(
    engine: Engine, tokenizer: Tokenizer, evaluation: Evaluation, settings: Mapping[str, DecodeSettings]
) -> tuple[list[Output], list[list[float]]]:
    """Return what `decoded` returns, for all rows of the test set. settings: by task."""
    test = evaluation.test
    sources = with_tasks(test["source"], test["task"])
    outputs, probabilities = np.empty(len(test), dtype=object), np.empty(len(test), dtype=object)
    for name, own in settings.items():
        rows = np.flatnonzero(test["task"] == name).tolist()
        found = decoded(engine, tokenizer, [sources[row] for row in rows], own, evaluation.labels.get(name, []), evaluation.seed)
        for row, output, each in zip(rows, *found, strict=True):
            outputs[row], probabilities[row] = output, each
    return outputs.tolist(), probabilities.tolist()


def decoded(
    engine: Engine, tokenizer: Tokenizer, sources: Sequence[str], decode: DecodeSettings, labels: Sequence[str], seed: int
) -> tuple[list[Output], list[list[float]]]:
    """Decode sources of one task. Returns the best output of each, and the probabilities of its labels, empty if they were not scored.

    labels: of the task; empty if it has none. Only the method labels scores them.
    seed: of sampling. The next row with an equal source has the next seed: with one seed, all outputs for a prompt would be the same text.
    """
    labels = labels if decode.method == "labels" else ()
    seeds = [seed + number for number in _occurrences(sources)]
    found = generate_n_best(sources, tokenizer, engine, decode, labels, max(len(labels), 1), seeds)
    return [outputs[0] for outputs in found], [_in_order(outputs, labels) for outputs in found]


def _occurrences(texts: Sequence[str]) -> list[int]:
    """Return how often each text has occurred before."""
    seen: Counter[str] = Counter()
    numbers = []
    for text in texts:
        numbers.append(seen[text])
        seen[text] += 1
    return numbers


def _in_order(outputs: Sequence[Output], labels: Sequence[str]) -> list[float]:
    by_label = {output.text: math.exp(output.score) for output in outputs}
    return [by_label[label] for label in labels]


def reference_log_probabilities(
    engine: Engine, tokenizer: Tokenizer, test: pd.DataFrame, settings: Mapping[str, DecodeSettings] = MappingProxyType({})
) -> list[list[float] | None]:
    """Return, per row, the natural-log probability of each token of the reference and of END, given what the model reads of the source.

    None for an empty source, and for a pair that is longer than the learned positions of the model.
    settings: by the name of the task in tables; without one, sources are read whole.
    """
    sources, targets = tokenizer.encode_pairs(with_tasks(test["source"], test["task"]), test["target"].tolist())
    read = [settings[task].read_part(source) if task in settings else source for source, task in zip(sources, test["task"], strict=True)]
    pairs = list(zip(read, targets, strict=True))
    fitting = [row for row, pair in enumerate(pairs) if pair[0] and engine.can_score(*pair)]
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


def engine_speed(engine: Engine, tokenizer: Tokenizer, evaluation: Evaluation, decode: DecodeSettings) -> dict[str, float]:
    """Measure sentences and output tokens per second, tokenization included, in batches of decode.batch_size and one by one.

    The first rows of the test set are decoded, each by the method of its task: 200 in batches, 30 one by one. The result depends on the
    machine and its load, so it is not reproducible.
    """
    settings, many = _settings_of_tasks(tokenizer, evaluation, decode), evaluation._replace(test=evaluation.test.head(_SPEED_TEXTS))
    few = many.test.head(_SPEED_SINGLE_TEXTS)
    singles = list(zip(with_tasks(few["source"], few["task"]), few["task"], strict=True))

    def one_by_one() -> None:
        for source, task in singles:
            decoded(engine, tokenizer, [source], settings[task], evaluation.labels.get(task, []), evaluation.seed)

    outputs, seconds = _timed(lambda: _all_decoded(engine, tokenizer, many, settings)[0])
    _, seconds_alone = _timed(one_by_one)
    _, targets = tokenizer.encode_pairs(many.test["source"].tolist(), [output.text for output in outputs])
    return {
        "batch_size": decode.batch_size,
        "sentences_per_second": len(many.test) / seconds,
        "tokens_per_second": sum(len(target) + 1 for target in targets) / seconds,
        "sentences_per_second_one_by_one": len(singles) / seconds_alone,
    }


def speed_script(system: str, speed: dict[str, float]) -> str:
    """Return a line of JavaScript that the report page loads. It is a separate file, because speed is not a reproducible output."""
    return f"textmillSpeed({json.dumps(system)}, {json.dumps(speed, sort_keys=True)});\n"


def _timed(action: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = action()
    return result, max(time.perf_counter() - started, 1e-9)
