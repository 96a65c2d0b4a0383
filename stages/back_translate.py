"""Translate monolingual target text back into sources, if there is any: more training pairs, with real targets.

in   data/raw                              the monolingual text
     data/split/development.parquet        teaches the reverse model; its targets are not wanted twice
     data/split/test_digest.parquet        finds what knows the test set
     data/tokenizer/tokenizer.model
out  data/back_translate/pairs.parquet     pairs of a synthetic source and a real target, of no fold; empty if there are no sources
     data/back_translate/metrics.json      the funnel: lines read, rejected by reason, translated, rejected by reason, pairs
"""

from __future__ import annotations

from stages.runner import run_stage
from textmill import paths
from textmill.augmentation.back_translation import back_translated
from textmill.augmentation.monolingual import Known, new_lines
from textmill.augmentation.reverse import ReverseShape
from textmill.corpus.rows import RowPlan
from textmill.corpus.watched import require_watched
from textmill.files import write_json
from textmill.settings.augmentation import BackTranslateSettings
from textmill.settings.cleaning import CleanSettings
from textmill.settings.corpus import CollectSettings, LanguageSettings, OverlapSettings
from textmill.settings.inference import DecodeSettings
from textmill.settings.model import ModelSettings
from textmill.settings.tokens import EncodeSettings
from textmill.tables import DEVELOPMENT_SCHEMA, read_table, write_table
from textmill.tokens.tokenizer import Tokenizer
from textmill.tracking import RunLog
from textmill.training.checkpoints import CheckpointFile


def main(
    back_translate: BackTranslateSettings,
    collect: CollectSettings,
    clean: CleanSettings,
    split: OverlapSettings,
    encode: EncodeSettings,
    model: ModelSettings,
    decode: DecodeSettings,
    seed: int,
    fingerprint: str,
    log: RunLog,
) -> None:
    require_watched("back_translate", back_translate.sources)
    known = Known(read_table(paths.DEVELOPMENT), read_table(paths.TEST_DIGEST), split)
    log.dataset(paths.DEVELOPMENT, "development", len(known.development))
    lines = new_lines(back_translate, collect, clean, known, paths.BACK_TRANSLATED.parent)
    tokenizer = Tokenizer.load(paths.TOKENIZER)
    shape = ReverseShape(encode, model, decode)
    rows = RowPlan(clean.repairs, clean.filters, LanguageSettings(collect.source_language, collect.target_language))
    checkpoint = CheckpointFile(paths.CHECKPOINTS / "back_translate", fingerprint)
    pairs, metrics = back_translated(lines, known, tokenizer, back_translate, shape, rows, seed, checkpoint, log.metrics)
    write_table(paths.BACK_TRANSLATED, pairs, DEVELOPMENT_SCHEMA)
    write_json(paths.BACK_TRANSLATE_METRICS, metrics)
    log.metrics(metrics)
    checkpoint.discard()


if __name__ == "__main__":
    run_stage(main)
