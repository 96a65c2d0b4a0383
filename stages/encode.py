"""Turn the development text into token ids, once for all folds.

in   data/split/development.parquet         pairs with their folds
     data/back_translate/pairs.parquet      pairs with synthetic sources, in no fold; empty unless back_translate is on
     data/tokenizer/tokenizer.model
out  data/encode/development.safetensors    flat token ids with offsets, which training memory-maps
     data/encode/metrics.json               number of pairs, of back-translated pairs, of pairs that are too long, and of tokens for both sides
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.base.tables import read_table
from textmill.encode.encode import encode_corpus, warnings, with_back_translated
from textmill.encode.settings import EncodeSettings
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings, kinds_of
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog


def main(encode: EncodeSettings, tasks: dict[str, TaskSettings], log: RunLog) -> None:
    pairs = read_table(paths.DEVELOPMENT)
    log.dataset(paths.DEVELOPMENT, "development", len(pairs))
    every = with_back_translated(pairs, read_table(paths.BACK_TRANSLATED))
    corpus, metrics = encode_corpus(every, Tokenizer.load(paths.TOKENIZER), encode, kinds_of(tasks))
    print("".join(f"encode: {line}\n" for line in warnings(metrics)), end="", flush=True)
    corpus.save(paths.ENCODED)
    write_json(paths.ENCODE_METRICS, metrics)
    log.metrics(metrics)


if __name__ == "__main__":
    run_stage(main)
