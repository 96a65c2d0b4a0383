"""Score a baseline without a model on the test set.

in   data/split/development.parquet                          pairs that the baseline may use
     data/split/test.parquet
out  data/evaluate/${item.baseline}/predictions.parquet      id, source, reference, hypothesis, sentence chrF
     data/evaluate/${item.baseline}/metrics.json             scores with intervals and signatures
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.base.tables import read_table, write_table
from textmill.evaluate.baselines import BASELINES
from textmill.evaluate.settings import EvaluateSettings
from textmill.evaluate.systems import PREDICTION_SCHEMA, score_outputs
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings, first_languages
from textmill.tracking.runs import RunLog


def main(baseline: str, evaluate: EvaluateSettings, tasks: dict[str, TaskSettings], seed: int, log: RunLog) -> None:
    test = read_table(paths.TEST)
    log.dataset(paths.TEST, "test", len(test))
    outputs = BASELINES[baseline](read_table(paths.DEVELOPMENT), test)
    metrics, predictions = score_outputs(test, outputs, first_languages(tasks).target_language, evaluate.bootstrap_samples, seed)
    write_table(paths.system_predictions(baseline), predictions, PREDICTION_SCHEMA)
    metrics |= {"system": baseline}
    write_json(paths.system_metrics(baseline), metrics)
    log.metrics(metrics)
    log.table(predictions, "predictions")


if __name__ == "__main__":
    run_stage(main)
