"""Read the sources named in params.yaml.

in   data/preflight/settings.json     the settings as a whole are right
     data/raw                         the user's files
out  data/collect/pairs.parquet       one row a pair: id, source, target, group, origin, line, ...
     data/collect/metrics.json        rows, and rows left out, of every source
"""

from __future__ import annotations

from stages.runner import run_stage
from textmill import paths
from textmill.corpus.sources import read_sources
from textmill.files import write_json
from textmill.settings.corpus import CollectSettings
from textmill.tables import PAIR_SCHEMA, write_table
from textmill.tracking import RunLog


def main(collect: CollectSettings, log: RunLog) -> None:
    pairs, metrics = read_sources(collect, paths.WHEELS)
    write_table(paths.COLLECTED, pairs, PAIR_SCHEMA)
    write_json(paths.COLLECT_METRICS, metrics)
    log.dataset(paths.COLLECTED, "collected", len(pairs))
    log.metrics({"rows": metrics["rows"]})


if __name__ == "__main__":
    run_stage(main)
