"""One page that a person reads instead of thirty JSON files, and the few numbers that belong into git.

in   data/preflight/settings.json              what differs from the default recipe
     data/preflight/default.json
     data/collect/metrics.json
     data/clean/metrics.json
     data/clean/samples.json
     data/split/metrics.json
     data/split/labels.json                    order of the probabilities of labels
     data/split/test.parquet                   where a row of the test set comes from
     data/tokenizer/metrics.json
     data/encode/metrics.json
     models/train/*/history.csv                learning curves; dvc.yaml names each fold's
     models/train/*/metrics.json
     models/distill/history.csv
     models/distill/metrics.json
     models/prune/history.csv
     models/prune/metrics.json
     models/export/metrics.json
     data/evaluate/*/metrics.json              dvc.yaml names each system's
     data/evaluate/*/predictions.parquet
out  reports/report.html                       opens without a network
     reports/statistics.json                   all scores and comparisons with intervals
     metrics/summary.json                      a few scores and sizes, rounded: git tracks it
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json, write_text
from textmill.evaluate.settings import EvaluateSettings
from textmill.pipeline.runner import run_stage
from textmill.report.page import render_page
from textmill.report.results import read_results
from textmill.report.settings import ReportSettings
from textmill.report.summary import statistics, summary
from textmill.split.settings import FoldsSettings
from textmill.tasks.settings import TaskSettings
from textmill.tracking.runs import RunLog


def main(
    split: FoldsSettings, evaluate: EvaluateSettings, tasks: dict[str, TaskSettings], report: ReportSettings, seed: int, log: RunLog
) -> None:
    results = read_results(split.folds, tasks, evaluate.bootstrap_samples, seed)
    write_text(paths.REPORT, render_page(results, tasks, report))
    write_json(paths.STATISTICS, statistics(results))
    write_json(paths.SUMMARY, summary(results))
    log.metrics(summary(results))
    log.artifact(paths.REPORT)


if __name__ == "__main__":
    run_stage(main)
