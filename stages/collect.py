"""Read the sources named in params.yaml.

     data/raw                         files of the user
out  data/collect/pairs.parquet       one row per pair: id, source, target, group, origin, line, ...
     data/collect/metrics.json        number of rows, skipped rows and bad rows, in total and by reason for every source
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.collect.settings import CollectSettings
from textmill.collect.sources import collect_sources
from textmill.pipeline.runner import run_stage
from textmill.pipeline.watched import require_watched
from textmill.tasks.settings import TaskSettings
from textmill.tracking.runs import RunLog


def main(collect: CollectSettings, tasks: dict[str, TaskSettings], log: RunLog) -> None:
    require_watched("collect", collect.sources)
    metrics = collect_sources(collect, tasks, paths.WHEELS, paths.COLLECTED)
    write_json(paths.COLLECT_METRICS, metrics)
    log.dataset(paths.COLLECTED, "collected", metrics["rows"])
    log.metrics(metrics)


if __name__ == "__main__":
    run_stage(main)
