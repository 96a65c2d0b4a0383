"""Score the baselines, which are no neural networks, on the test set: for each task those of its kind.

in   data/split/development.parquet                  pairs that a baseline may use
     data/split/test.parquet
     data/split/labels.json
out  data/evaluate/baselines/predictions.parquet     id, task, source, reference, hypothesis, score, ..., system
     data/evaluate/baselines/metrics.json            by baseline: scores with intervals and signatures
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import read_json, write_json
from textmill.base.tables import read_table, write_table
from textmill.evaluate.baselines import score_baselines
from textmill.evaluate.scoring import BASELINE_SCHEMA, evaluation_of
from textmill.evaluate.settings import EvaluateSettings
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings
from textmill.tracking.runs import RunLog


def main(evaluate: EvaluateSettings, tasks: dict[str, TaskSettings], seed: int, log: RunLog) -> None:
    test, development = read_table(paths.TEST), read_table(paths.DEVELOPMENT)
    log.dataset(paths.TEST, "test", len(test))
    evaluation = evaluation_of(test, development, tasks, read_json(paths.LABELS), evaluate.bootstrap_samples, seed)
    metrics, predictions = score_baselines(evaluation, development)
    write_table(paths.BASELINE_PREDICTIONS, predictions, BASELINE_SCHEMA)
    write_json(paths.BASELINE_METRICS, metrics)
    log.metrics(metrics)
    log.table(predictions, "predictions")


if __name__ == "__main__":
    run_stage(main)
