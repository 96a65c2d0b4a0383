"""Repair, filter and deduplicate the collected pairs.

in   data/collect/pairs.parquet      one row per pair: id, source, target, group, origin, line, ...
out  data/clean/pairs.parquet        rows that passed, repaired and with private data masked
     data/clean/rejected.parquet     all other rows, unchanged, with the reason for the rejection
     data/clean/samples.json         a few rejected, repaired and masked rows for each reason
     data/clean/metrics.json         rows in, repaired, rejected by reason, and out; languages, lengths, warnings
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.plans import plans_of
from textmill.clean.settings import CleanSettings
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings
from textmill.tracking.runs import RunLog


def main(clean: CleanSettings, tasks: dict[str, TaskSettings], log: RunLog) -> None:
    metrics = clean_corpus(paths.COLLECTED, Outputs(paths.CLEAN, paths.REJECTED, paths.CLEAN_SAMPLES), clean, plans_of(clean, tasks))
    write_json(paths.CLEAN_METRICS, metrics)
    log.dataset(paths.COLLECTED, "collected", metrics["rows_in"])
    log.metrics(metrics)
    log.artifact(paths.CLEAN_SAMPLES)


if __name__ == "__main__":
    run_stage(main)
