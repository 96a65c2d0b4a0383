"""Back-translation (Sennrich, Haddow & Birch 2016): make pairs of a synthetic source and a real target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from textmill.back_translate.monolingual import Known, Lines
from textmill.back_translate.reverse import ReverseShape, train_reverse, write_sources
from textmill.back_translate.settings import BackTranslateSettings
from textmill.base.tables import DEVELOPMENT_SCHEMA
from textmill.clean.rows import RowPlan, clean_tasks
from textmill.decode.torch_engine import TorchEngine
from textmill.encode.encoded_corpus import NO_FOLD
from textmill.split.digests import recognized
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.run import Run


class BackTranslated(NamedTuple):
    """The result of back-translation.

    table: columns of DEVELOPMENT_SCHEMA, one row per pair. The pairs are in no fold.
    metrics: counts. Every line that was read is in exactly one of them.
    """

    table: pd.DataFrame
    metrics: dict[str, Any]


def back_translated(
    lines: Lines,
    known: Known,
    tokenizer: Tokenizer,
    back_translate: BackTranslateSettings,
    shape: ReverseShape,
    plans: Mapping[str, RowPlan],
    run: Run,
) -> BackTranslated:
    """Train the reverse model, translate every line back into a source, and filter the pairs like collected pairs.

    plans: the repairs and filters of the stage clean, by task.
    A pair is also rejected if its source overlaps with the test set. The reasons are those of `write_sources`, `clean_tasks` and
    `recognized`.
    Without lines, nothing is trained.
    """
    counts = {"lines": lines.read, "lines_rejected": dict(sorted(lines.rejected.items()))}
    if lines.table.empty:
        table = pd.DataFrame(columns=pd.Index(DEVELOPMENT_SCHEMA.names))
        return BackTranslated(table, counts | {"translated": 0, "translations_rejected": {}, "pairs": 0})
    run = run.on(back_translate.train)
    network, result = train_reverse(known.development, tokenizer, back_translate, shape, run)
    decode = replace(shape.decode, beam_size=back_translate.beam_size)
    targets, tasks = lines.table["target"].tolist(), lines.table["task"].tolist()
    written = write_sources(targets, tasks, tokenizer, TorchEngine([network], run.device), shape.encode, decode)
    cleaned = clean_tasks([each.source for each in written], targets, tasks, plans)
    sources = [pair.source for pair in cleaned.pairs]
    test = recognized(sources, known.digest, "source", known.overlap)
    reasons = [each.reason or own or leak for each, own, leak in zip(written, cleaned.reasons, test, strict=True)]
    kept = np.array(reasons, dtype=object) == ""
    rejected = Counter(reason for reason in reasons if reason)
    repeats = len(known.development["folds"].iloc[0])
    table = lines.table.assign(source=sources, target=[pair.target for pair in cleaned.pairs])[kept].reset_index(drop=True)
    table = table.assign(id="back-" + table["id"], weight=back_translate.weight, folds=[[NO_FOLD] * repeats] * len(table))
    assert lines.read["rows"] == len(table) + lines.rejected.total() + rejected.total(), "a line was lost"
    return BackTranslated(
        table,
        counts
        | {
            "translated": len(lines.table),
            "translations_rejected": dict(sorted(rejected.items())),
            "pairs": len(table),
            "last_train_loss": result.history[-1].train_loss,
        },
    )
