"""Fit one SentencePiece model for source and target on the development text.

in   data/split/development.parquet     its only input, which does not include the test set
out  data/tokenizer/tokenizer.model     SentencePiece model with byte fallback
     data/tokenizer/metrics.json        vocabulary size; tokens per text and per character for both sides
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.base.tables import read_table
from textmill.pipeline.runner import run_stage
from textmill.tokenizer.settings import TokenizerSettings
from textmill.tokenizer.statistics import tokenizer_metrics
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import fit_tokenizer
from textmill.tracking.runs import RunLog


def main(tokenizer: TokenizerSettings, log: RunLog) -> None:
    pairs = read_table(paths.DEVELOPMENT)
    sources, targets = with_tasks(pairs["source"], pairs["task"]), pairs["target"].tolist()
    log.dataset(paths.DEVELOPMENT, "development", len(pairs))
    fitted = fit_tokenizer(sources, targets, tokenizer)
    metrics = tokenizer_metrics(fitted, sources, targets)
    fitted.save(paths.TOKENIZER)
    write_json(paths.TOKENIZER_METRICS, metrics)
    log.metrics(metrics)


if __name__ == "__main__":
    run_stage(main)
