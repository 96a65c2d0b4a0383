"""Score the exported int8 model on the test set, with the same engine and files that users run.

in   models/export/int8/model.bin
     models/export/int8/config.json
     models/export/int8/shared_vocabulary.json
     models/export/int8/tokenizer.model
     models/export/int8/generation.json
     models/export/int8/manifest.json
     data/split/test.parquet
     data/split/development.parquet                targets, to find copies of training text in outputs
     data/split/labels.json
out  data/evaluate/exported/predictions.parquet    id, task, source, reference, hypothesis, score of the row, probabilities of labels
     data/evaluate/exported/metrics.json           scores with intervals and signatures, loss, size
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import read_json, total_size, write_json, write_text
from textmill.base.tables import read_table, write_table
from textmill.evaluate.scoring import PREDICTION_SCHEMA, evaluation_of
from textmill.evaluate.settings import EvaluateSettings
from textmill.evaluate.systems import engine_speed, evaluate_engine, speed_script
from textmill.pipeline.runner import run_stage
from textmill.serving.text_model import TextModel
from textmill.tasks.settings import TaskSettings
from textmill.tracking.runs import RunLog


def main(evaluate: EvaluateSettings, tasks: dict[str, TaskSettings], seed: int, log: RunLog) -> None:
    test, model = read_table(paths.TEST), TextModel.load(paths.EXPORTED_INT8)
    log.dataset(paths.TEST, "test", len(test))
    evaluation = evaluation_of(test, read_table(paths.DEVELOPMENT), tasks, read_json(paths.LABELS), evaluate.bootstrap_samples, seed)
    metrics, predictions = evaluate_engine(model.engine, model.tokenizer, evaluation, model.decode)
    metrics |= {"system": "exported", "size_bytes": total_size([paths.EXPORTED_INT8 / "model.bin"])}
    write_table(paths.system_predictions("exported"), predictions, PREDICTION_SCHEMA)
    write_json(paths.system_metrics("exported"), metrics)
    speed = engine_speed(model.engine, model.tokenizer, evaluation, model.decode)
    write_text(paths.system_speed("exported"), speed_script("exported", speed))
    log.metrics({**metrics, "speed": speed})
    log.table(predictions, "predictions")


if __name__ == "__main__":
    run_stage(main)
