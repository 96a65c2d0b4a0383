"""Read the sources named in params.yaml.

in   data/preflight/settings.json     the settings as a whole are right
     data/raw                         the user's files
out  data/collect/pairs.parquet       one row a pair: id, source, target, group, origin, line, ...
     data/collect/metrics.json        rows, skipped and bad ones: all together, and by reason for every source
"""

from __future__ import annotations

from stages.runner import run_stage
from textmill import paths
from textmill.corpus.sources import collect_sources
from textmill.corpus.watched import require_watched
from textmill.files import write_json
from textmill.settings.corpus import CollectSettings
from textmill.tracking import RunLog


def main(collect: CollectSettings, log: RunLog) -> None:
    require_watched("collect", collect.sources)
    metrics = collect_sources(collect, paths.WHEELS, paths.COLLECTED)
    write_json(paths.COLLECT_METRICS, metrics)
    log.dataset(paths.COLLECTED, "collected", metrics["rows"])
    log.metrics(metrics)


if __name__ == "__main__":
    run_stage(main)
