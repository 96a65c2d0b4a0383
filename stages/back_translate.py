"""Back-translate monolingual target text into additional training pairs, with synthetic sources and real targets.

in   data/raw                              the monolingual text
     data/split/development.parquet        training data of the reverse model; lines equal to a target in it are rejected
     data/split/test_digest.parquet        to reject lines and sources that overlap with the test set
     data/tokenizer/tokenizer.model
out  data/back_translate/pairs.parquet     pairs of a synthetic source and a real target, in no fold; empty without sources
     data/back_translate/metrics.json      lines read, rejected by reason, translated, translations rejected by reason, pairs
"""

from __future__ import annotations

from dataclasses import replace

from textmill.back_translate.back_translation import back_translated
from textmill.back_translate.monolingual import Known, new_lines
from textmill.back_translate.reverse import ReverseShape
from textmill.back_translate.settings import BackTranslateSettings
from textmill.base import paths
from textmill.base.files import write_json
from textmill.base.tables import DEVELOPMENT_SCHEMA, read_table, write_table
from textmill.clean.plans import plans_of
from textmill.clean.rows import RowPlan
from textmill.clean.settings import CleanSettings
from textmill.collect.settings import CollectSettings
from textmill.decode.settings import DecodeSettings
from textmill.encode.settings import EncodeSettings
from textmill.model.settings import ModelSettings
from textmill.pipeline.runner import run_stage
from textmill.pipeline.watched import require_watched
from textmill.split.settings import OverlapSettings
from textmill.tasks.settings import TaskSettings, stored_name
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog
from textmill.train.checkpoints import CheckpointFile
from textmill.train.run import Run


def main(
    back_translate: BackTranslateSettings,
    collect: CollectSettings,
    clean: CleanSettings,
    tasks: dict[str, TaskSettings],
    split: OverlapSettings,
    encode: EncodeSettings,
    model: ModelSettings,
    decode: DecodeSettings,
    seed: int,
    fingerprint: str,
    log: RunLog,
) -> None:
    require_watched("back_translate", back_translate.sources)
    named = [replace(source, task=stored_name(source.task, tasks)) for source in back_translate.sources]
    back_translate = replace(back_translate, sources=named)
    known = Known(read_table(paths.DEVELOPMENT), read_table(paths.TEST_DIGEST), split)
    log.dataset(paths.DEVELOPMENT, "development", len(known.development))
    lines = new_lines(back_translate, collect, clean, tasks, known, paths.BACK_TRANSLATED.parent)
    tokenizer = Tokenizer.load(paths.TOKENIZER)
    shape = ReverseShape(encode, model, decode)
    plans = {task: RowPlan(plan.clean.repairs, plan.clean.filters, plan.languages) for task, plan in plans_of(clean, tasks).items()}
    checkpoint = CheckpointFile(paths.CHECKPOINTS / "back_translate", fingerprint)
    pairs, metrics = back_translated(
        lines, known, tokenizer, back_translate, shape, plans, Run("train reverse model", seed, checkpoint, log.metrics)
    )
    write_table(paths.BACK_TRANSLATED, pairs, DEVELOPMENT_SCHEMA)
    write_json(paths.BACK_TRANSLATE_METRICS, metrics)
    log.metrics(metrics)
    checkpoint.discard()


if __name__ == "__main__":
    run_stage(main)
