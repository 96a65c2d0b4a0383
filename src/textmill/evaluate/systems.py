"""Evaluate one system on the test set: outputs, scores and speed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import pyarrow as pa
from sacrebleu.metrics import CHRF

from textmill.base.errors import UserError
from textmill.decode.generate import encode_sources, generate
from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings
from textmill.evaluate.metrics import METRICS, measure, resamplings
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer

PREDICTION_SCHEMA = pa.schema(
    [("id", pa.string()), ("source", pa.string()), ("reference", pa.string()), ("hypothesis", pa.string()), ("chrf", pa.float64())]
)
_SPEED_TEXTS, _SPEED_SINGLE_TEXTS = 200, 30


def score_outputs(
    test: pd.DataFrame, outputs: Sequence[str], target_language: str, samples: int, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score outputs, one per row of `test` (columns id, source, target).

    Returns a dict and a table with PREDICTION_SCHEMA in test order. The dict has the key examples, and for each metric that
    applies {"score", "low", "high", "signature", "num_segments"}.
    Raises UserError if the test set is empty.
    """
    if test.empty:
        raise UserError("the test set is empty. Raise split.test_share or use more data.")
    sources, references = test["source"].tolist(), test["target"].tolist()
    weights = resamplings(len(test), samples, seed)
    metrics: dict[str, Any] = {"examples": len(test)}
    for name, make in METRICS.items():
        result = measure(make(target_language), sources, outputs, references, weights)
        if result is not None:
            metrics[name] = {key: value for key, value in asdict(result).items() if key != "name"}
    sentence_chrf = CHRF()
    segments = [sentence_chrf.sentence_score(output, [reference]).score for output, reference in zip(outputs, references, strict=True)]
    predictions = pd.DataFrame(
        {"id": test["id"], "source": sources, "reference": references, "hypothesis": list(outputs), "chrf": segments}
    )
    return metrics, predictions


def reference_loss(engine: Engine, tokenizer: Tokenizer, test: pd.DataFrame) -> dict[str, float]:
    """Compute the cross entropy of the references in nats per token, END included, and the perplexity.

    Pairs longer than the learned positions of the model are left out. If there are any, `unscored_pairs` counts them.
    """
    pairs = list(zip(*tokenizer.encode_pairs(with_tasks(test["source"], test["task"]), test["target"].tolist()), strict=True))
    fitting = [pair for pair in pairs if engine.can_score(*pair)]
    unscored: dict[str, float] = {"unscored_pairs": len(pairs) - len(fitting)} if len(fitting) < len(pairs) else {}
    if not fitting:
        return unscored
    scores = engine.score([source for source, _ in fitting], [target for _, target in fitting])
    loss = -sum(map(math.fsum, scores)) / sum(map(len, scores))
    return {"loss": loss, "perplexity": math.exp(min(loss, 700))} | unscored


def evaluate_engine(
    engine: Engine,
    tokenizer: Tokenizer,
    test: pd.DataFrame,
    decode: DecodeSettings,
    target_language: str,
    samples: int,
    seed: int,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Translate the test set with an engine, and score the outputs.

    test: columns id, source, target and task. The task name is put in front of the source.
    Returns the same as `score_outputs`, plus the loss of the references and the number of sources that were cut.
    """
    sources = with_tasks(test["source"], test["task"])
    outputs = generate(sources, tokenizer, engine, decode, seed=seed)
    metrics, predictions = score_outputs(test, outputs, target_language, samples, seed)
    cut = sum(len(ids) > decode.source_limit for ids in encode_sources(sources, tokenizer))
    return metrics | reference_loss(engine, tokenizer, test) | {"truncated_sources": cut}, predictions


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
    return sum(len(best[0].tokens) + 1 for best in engine.generate(encode_sources(sources, tokenizer), decode))


def _timed(action: Callable[[], int]) -> tuple[int, float]:
    started = time.perf_counter()
    result = action()
    return result, max(time.perf_counter() - started, 1e-9)
