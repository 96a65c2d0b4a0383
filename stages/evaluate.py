"""Score one torch model, or an ensemble of several, on the test set.

in   ${item}                                     weights; for evaluate-ensemble, those of every fold model
     data/split/test.parquet
     data/tokenizer/tokenizer.model
     data/split/development.parquet              targets, to find copies of training text in outputs
     data/split/labels.json
out  data/evaluate/${key}/predictions.parquet    id, task, source, reference, hypothesis, score of the row, probabilities of labels
     data/evaluate/${key}/metrics.json           scores with intervals and signatures, loss, parameters, size
"""

from __future__ import annotations

from pathlib import Path

from textmill.base import paths
from textmill.base.files import read_json, total_size, write_json, write_text
from textmill.base.tables import read_table, write_table
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.evaluate.scoring import PREDICTION_SCHEMA, evaluation_of
from textmill.evaluate.settings import EvaluateSettings
from textmill.evaluate.systems import engine_speed, evaluate_engine, speed_script
from textmill.model.device import choose_device
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog


def main(
    system: str, *models: str, evaluate: EvaluateSettings, decode: DecodeSettings, tasks: dict[str, TaskSettings], seed: int, log: RunLog
) -> None:
    test, tokenizer = read_table(paths.TEST), Tokenizer.load(paths.TOKENIZER)
    log.dataset(paths.TEST, "test", len(test))
    files = list(map(Path, models))
    engine = TorchEngine.load(files, choose_device(decode.device))
    evaluation = evaluation_of(test, read_table(paths.DEVELOPMENT), tasks, read_json(paths.LABELS), evaluate.bootstrap_samples, seed)
    metrics, predictions = evaluate_engine(engine, tokenizer, evaluation, decode)
    metrics |= {"system": system, "parameters": engine.num_parameters, "size_bytes": total_size(files)}
    write_table(paths.system_predictions(system), predictions, PREDICTION_SCHEMA)
    write_json(paths.system_metrics(system), metrics)
    speed = engine_speed(engine, tokenizer, evaluation, decode)
    write_text(paths.system_speed(system), speed_script(system, speed))
    log.metrics({**metrics, "speed": speed})
    log.table(predictions, "predictions")


if __name__ == "__main__":
    run_stage(main)
