"""Paths of all outputs of the pipeline, relative to the project root.

The outputs of a stage are in a folder with the name of the stage: in data/ for tables, in models/ for weights.
"""

from __future__ import annotations

from pathlib import Path

SETTINGS = Path("data/preflight/settings.json")
DEFAULT_SETTINGS = Path("data/preflight/default.json")

COLLECTED = Path("data/collect/pairs.parquet")
COLLECT_METRICS = Path("data/collect/metrics.json")

CLEAN = Path("data/clean/pairs.parquet")
REJECTED = Path("data/clean/rejected.parquet")
CLEAN_SAMPLES = Path("data/clean/samples.json")
CLEAN_METRICS = Path("data/clean/metrics.json")

DEVELOPMENT = Path("data/split/development.parquet")
TEST = Path("data/split/test.parquet")
TEST_DIGEST = Path("data/split/test_digest.parquet")
REMOVED = Path("data/split/removed.parquet")
LABELS = Path("data/split/labels.json")
SPLIT_METRICS = Path("data/split/metrics.json")

TOKENIZER = Path("data/tokenizer/tokenizer.model")
TOKENIZER_METRICS = Path("data/tokenizer/metrics.json")

BACK_TRANSLATED = Path("data/back_translate/pairs.parquet")
BACK_TRANSLATE_METRICS = Path("data/back_translate/metrics.json")

ENCODED = Path("data/encode/development.safetensors")
ENCODE_METRICS = Path("data/encode/metrics.json")

STUDENT = Path("models/distill/model.safetensors")
STUDENT_HISTORY = Path("models/distill/history.csv")
DISTILLED_CORPUS = Path("models/distill/corpus.safetensors")
DISTILL_METRICS = Path("models/distill/metrics.json")

PRUNED = Path("models/prune/model.safetensors")
PRUNE_HISTORY = Path("models/prune/history.csv")
PRUNE_METRICS = Path("models/prune/metrics.json")

EXPORTED = Path("models/export")
EXPORTED_INT8 = EXPORTED / "int8"
EXPORTED_FLOAT32 = EXPORTED / "float32"
EXPORT_METRICS = EXPORTED / "metrics.json"
MODEL_CARD = EXPORTED / "README.md"

REPORT = Path("reports/report.html")
STATISTICS = Path("reports/statistics.json")
SPEEDS = Path("reports/speed")
SUMMARY = Path("metrics/summary.json")
ENVIRONMENT = Path("metrics/environment.json")

CHECKPOINTS = Path(".checkpoints")
WHEELS = Path("data/wheels")


def fold_model(fold: int) -> Path:
    """Return the weights of the model that was not trained on `fold`."""
    return Path(f"models/train/{fold}/model.safetensors")


def fold_history(fold: int) -> Path:
    """Return the learning curve of that model."""
    return Path(f"models/train/{fold}/history.csv")


def fold_metrics(fold: int) -> Path:
    """Return the metrics of that model: steps, best validation loss and stop reason."""
    return Path(f"models/train/{fold}/metrics.json")


def system_metrics(system: str) -> Path:
    """Return the scores of one system on the test set, with intervals and signatures."""
    return Path(f"data/evaluate/{system}/metrics.json")


def system_predictions(system: str) -> Path:
    """Return the outputs of one system, one row per test example."""
    return Path(f"data/evaluate/{system}/predictions.parquet")


BASELINE_METRICS, BASELINE_PREDICTIONS = system_metrics("baselines"), system_predictions("baselines")


def system_speed(system: str) -> Path:
    """Return the speed of one system on this machine. It differs from run to run, so it is neither a stage output nor tracked."""
    return SPEEDS / f"{system}.js"
