"""Every row is counted, from the files to the encoded corpus."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cleaning import CLEAN, EN_ZH
from collecting import collected
from ruamel.yaml import YAML

from textmill.base.tables import read_table
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.plans import TaskPlan
from textmill.collect.settings import SourceSettings
from textmill.encode.encode import encode_corpus
from textmill.encode.settings import EncodeSettings
from textmill.settings.schema import build
from textmill.split.settings import SplitSettings
from textmill.split.splitting import split_corpus
from textmill.tokenizer.tokenizer import Tokenizer

ROWS = 10_000
PIECES = [
    "Open",
    "the",
    "file",
    "now",
    "打开",
    "文件",
    "<b>",
    "&amp;",
    "\ufffd",
    "\u200b",
    "me@example.org",
    "12",
    "\x00",
    "\ufdd0",
    "",
    " ",
]
BAD = [b"\xff\tx", b"one column", b"", b"a\tb\tc", b"x" * 2000 + b"\ty"]


@pytest.mark.slow
def test_of_ten_thousand_random_rows_each_stage_keeps_or_counts_every_one(tmp_path: Path, tokenizer: Tokenizer) -> None:
    generator = random.Random(0)

    def side() -> str:
        return " ".join(generator.choices(PIECES, k=generator.randrange(12)))

    lines = [generator.choice(BAD) if generator.random() < 0.05 else f"{side()}\t{side()}".encode() for _ in range(ROWS)]
    (tmp_path / "x.tsv").write_bytes(b"source\ttarget\n" + b"\n".join(lines) + b"\n")
    found = collected(tmp_path, SourceSettings("tsv", path=str(tmp_path / "x.tsv")), max_row_bytes=1000, max_bad_share=0.9)
    (report,) = found.attrs["sources"]
    bad = {reason: each["rows"] for reason, each in report["bad"].items()}
    assert len(found) + sum(report["skipped"].values()) + sum(bad.values()) == ROWS
    assert {"not_utf8", "too_long"} <= set(bad)

    outputs = Outputs(tmp_path / "kept.parquet", tmp_path / "rejected.parquet", tmp_path / "samples.json")
    clean = replace(CLEAN, near_duplicates=0.0)
    metrics = clean_corpus(tmp_path / "out/pairs.parquet", outputs, clean, {"": TaskPlan(clean, EN_ZH)})
    kept, rejected = read_table(outputs.kept), read_table(outputs.rejected)
    assert sorted([*kept["id"], *rejected["id"]]) == sorted(found["id"])
    assert metrics["rejected"] == {reason: (rejected["reason"] == reason).sum() for reason in metrics["rejected"]}
    assert sum(metrics["rejected"].values()) == len(rejected) > 0 < len(kept)

    settings = build(SplitSettings, YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["split"], "split")
    split = split_corpus(kept, settings, 1)
    assert sorted([*split.development["id"], *split.test["id"], *split.removed["id"]]) == sorted(kept["id"])

    longest = int(np.median([len(ids) for ids in tokenizer.encode_batch(split.development["source"].tolist())]))
    corpus, counts = encode_corpus(split.development, tokenizer, EncodeSettings(longest))
    assert counts["pairs"] + counts["too_long"] == len(split.development) and len(corpus) == counts["pairs"]
    assert counts["too_long"] > 0
