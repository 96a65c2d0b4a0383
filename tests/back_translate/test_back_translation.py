"""Monolingual lines to pairs, on toy text; the reverse model is small, but learns enough to write sources that pass the filters."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from toy import DECODE, MODEL, PAIRS, TRAIN

from textmill.back_translate.back_translation import BackTranslated, back_translated
from textmill.back_translate.monolingual import Known, Lines, new_lines
from textmill.back_translate.reverse import ReverseShape, Written, write_sources
from textmill.back_translate.settings import BackTranslateSettings, MonolingualSettings
from textmill.base.errors import UserError
from textmill.base.tables import DEVELOPMENT_SCHEMA, read_table, write_table
from textmill.clean.rows import RowPlan
from textmill.clean.settings import CleanSettings
from textmill.collect.settings import CollectSettings
from textmill.decode.search import Hypothesis
from textmill.decode.torch_engine import TorchEngine
from textmill.distill.distillation import Teaching, distilled_corpus
from textmill.distill.settings import DistillSettings
from textmill.encode.encode import encode_corpus, with_back_translated
from textmill.encode.encoded_corpus import NO_FOLD, EncodedCorpus
from textmill.encode.settings import EncodeSettings
from textmill.model.interface import Seq2SeqModel
from textmill.settings.schema import build
from textmill.split.digests import digest_of
from textmill.split.settings import OverlapSettings
from textmill.tasks.languages import LanguageSettings
from textmill.tasks.settings import TaskSettings
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile
from textmill.train.run import Run

_PARAMS: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
COLLECT = build(CollectSettings, _PARAMS["collect"], "collect")
CLEAN = build(CleanSettings, _PARAMS["clean"], "clean")
TASKS = {"translate": TaskSettings("en", target_language="zh")}
SHAPE = ReverseShape(EncodeSettings(64), replace(MODEL, width=32, feed_forward=64, dropout=0.0, attention_dropout=0.0), DECODE)
TRAINING = replace(TRAIN, max_steps=240, validate_every=60, batch_tokens=600, learning_rate=1e-2, warmup_steps=20)
ON = BackTranslateSettings([MonolingualSettings("mono.txt")], max_lines=0, weight=0.5, beam_size=2, train=TRAINING)
OFF = replace(ON, sources=[])
HELD_BACK = PAIRS[::4]  # text whose targets are given without their sources
DEVELOPMENT = [pair for pair in PAIRS if pair not in HELD_BACK][:-5]
TEST = [pair for pair in PAIRS if pair not in HELD_BACK][-5:]


def frame(pairs: list[tuple[str, str]], task: str = "") -> pd.DataFrame:
    sources, targets = map(list, zip(*pairs, strict=True))
    rows = {"id": [f"r{row}" for row in range(len(pairs))], "source": sources, "target": targets, "group": "", "origin": "o"}
    folds = [[row % 3, 3 + row % 2] for row in range(len(pairs))]
    return pd.DataFrame(rows).assign(line=np.arange(len(pairs)) + 1, task=task, weight=1.0, official_split="", folds=folds)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    monkeypatch.chdir(tmp_path)
    Path("mono.txt").write_text("".join(f"{target}\n" for _, target in HELD_BACK), encoding="utf-8")
    return Known(frame(DEVELOPMENT), digest_of(frame(TEST), 13), OverlapSettings(similarity=0.99, overlap_units=13))


def lines_of(known: Known, settings: BackTranslateSettings = ON, clean: CleanSettings = CLEAN) -> Lines:
    return new_lines(settings, COLLECT, clean, TASKS, known, Path("data"))


def run(known: Known, tokenizer: Tokenizer, settings: BackTranslateSettings = ON, checkpoint: str = "a") -> BackTranslated:
    plans = {"": RowPlan(CLEAN.repairs, CLEAN.filters, LanguageSettings("en", "zh"))}
    file = CheckpointFile(Path("checkpoints"), checkpoint)
    return back_translated(lines_of(known, settings), known, tokenizer, settings, SHAPE, plans, Run("reverse", 1, file))


def test_without_sources_nothing_is_trained_and_the_encoded_corpus_has_the_same_bytes(known: Known, tokenizer: Tokenizer) -> None:
    table, metrics = run(known, tokenizer, OFF)
    write_table(Path("pairs.parquet"), table, DEVELOPMENT_SCHEMA)
    assert metrics["pairs"] == len(table) == 0 and not Path("checkpoints").exists()
    write_table(Path("development.parquet"), known.development, DEVELOPMENT_SCHEMA)
    development = read_table(Path("development.parquet"))
    for name, pairs in (("alone", development), ("both", with_back_translated(development, read_table(Path("pairs.parquet"))))):
        encode_corpus(pairs, tokenizer, SHAPE.encode)[0].save(Path(name))
    assert Path("alone").read_bytes() == Path("both").read_bytes()


def test_pairs_have_written_sources_and_real_targets_and_are_seen_by_every_fold(known: Known, tokenizer: Tokenizer) -> None:
    table, metrics = run(known, tokenizer)
    assert len(table) == metrics["pairs"] > 10, metrics
    assert set(table["target"]) <= {target for _, target in HELD_BACK}
    assert (table["source"] != "").all() and table["id"].is_unique and not set(table["id"]) & set(known.development["id"])
    assert (table["source"].str.contains("%s") == table["target"].str.contains("%s")).all(), "a slot was lost"
    assert metrics["lines"]["rows"] == metrics["pairs"] + sum(
        sum(metrics[part].values()) for part in ("lines_rejected", "translations_rejected")
    )
    write_table(Path("pairs.parquet"), table, DEVELOPMENT_SCHEMA)
    write_table(Path("development.parquet"), known.development, DEVELOPMENT_SCHEMA)
    pairs = with_back_translated(read_table(Path("development.parquet")), read_table(Path("pairs.parquet")))
    corpus, counts = encode_corpus(pairs, tokenizer, SHAPE.encode)
    assert counts["back_translated"] == len(table)
    is_new = np.arange(len(corpus)) >= len(DEVELOPMENT)
    assert corpus.folds[is_new].tolist() == [[NO_FOLD, NO_FOLD]] * len(table)
    assert set(corpus.weight[is_new].tolist()) == {0.5}
    assert not any(corpus.held_out(fold)[is_new].any() for fold in range(5))


def test_a_run_that_ends_in_the_search_goes_on_to_the_same_pairs(
    known: Known, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(known, tokenizer)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TorchEngine, "generate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run(known, tokenizer, checkpoint="b")
    again = run(known, tokenizer, checkpoint="b")
    pd.testing.assert_frame_equal(whole.table, again.table)
    assert whole.metrics == again.metrics


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("复制报告和窗口", ""),
        ("Only English words stand here", "wrong_script"),
        ("。。。", "punctuation_only"),
        ("打开", ""),
        (DEVELOPMENT[0][1], "known_target"),
        (f"「{DEVELOPMENT[0][1]}」 2", "known_target"),
        (TEST[0][1], "test_overlap"),
        (f"{TEST[1][1]}！", "test_overlap"),
        ("保存文件\ufffd", "damaged"),
    ],
)
def test_a_line_is_rejected_for_its_reason(known: Known, line: str, reason: str) -> None:
    Path("mono.txt").write_text(f"{line}\n\n重命名所有的图像\n", encoding="utf-8")
    lines = lines_of(known)
    assert lines.rejected == ({reason: 1} if reason else {})
    assert lines.table["target"].tolist() == ([] if reason else [line]) + ["重命名所有的图像"]
    assert (lines.read["rows"], lines.read["skipped"]) == (2, 1)


def test_equal_lines_are_one_and_the_chosen_ones_do_not_depend_on_their_order(known: Known) -> None:
    texts = [f"{verb}所有的{thing}" for verb in ("打开", "关闭", "删除") for thing in ("图像", "窗口", "消息")]
    few = replace(ON, sources=[MonolingualSettings("part-*.gz")], max_lines=4)
    chosen = []
    for order in (texts, texts[::-1]):
        Path("part-1.gz").write_bytes(gzip.compress("\n".join(order[:5]).encode()))
        Path("part-2.gz").write_bytes(gzip.compress("\n".join([*order[5:], order[0]]).encode()))
        lines = lines_of(known, few)
        assert lines.rejected["duplicate"] == 1 and lines.rejected["not_chosen"] == 5, lines.rejected
        chosen.append(set(lines.table["target"]))
    assert chosen[0] == chosen[1] and len(chosen[0]) == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (MonolingualSettings("gone.txt"), r"gone.txt: no such file. Correct back_translate.sources in params.yaml"),
        (MonolingualSettings("mono.txt", "chat"), r"back_translate.sources\[0\].task is 'chat', but no development pair"),
    ],
)
def test_a_wrong_source_is_named_where_it_stands(known: Known, source: MonolingualSettings, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lines_of(known, replace(ON, sources=[source]))


class _Scripted:
    """An engine that returns the same beam for every source."""

    def __init__(self, beam: list[list[int]]) -> None:
        self.beam = [Hypothesis(tokens, 0.0) for tokens in beam]

    def generate(self, sources: list[list[int]], *_: object) -> list[list[Hypothesis]]:
        return [self.beam for _ in sources]


def test_of_a_beam_the_best_output_that_ended_and_keeps_the_slots_is_taken(tokenizer: Tokenizer) -> None:
    def tokens(text: str) -> list[int]:
        return tokenizer.encode(tokenizer.protect(text).text)

    lost, kept, endless = tokens("Open the file"), tokens("Open the file %s"), tokens("Open %s ") + [5] * DECODE.max_tokens
    endless = endless[: DECODE.max_tokens]
    for beam, target, expected in (
        ([lost, kept], "打开文件 %s", Written("Open the file %s", "")),
        ([endless, kept], "打开文件 %(name)s", Written("Open the file %(name)s", "")),
        ([lost], "打开文件 %s", Written("", "lost_slots")),
        ([endless], "打开文件 %s", Written("", "unfinished")),
        ([kept], "打开文件 %s" * 30, Written("", "too_long")),
    ):
        engine: Any = _Scripted(beam)
        assert write_sources([target], [""], tokenizer, engine, SHAPE.encode, DECODE) == [expected]


def test_a_pair_in_no_fold_is_labelled_by_all_models(corpus: EncodedCorpus, tokenizer: Tokenizer, model: Seq2SeqModel) -> None:
    folds = corpus.folds.clone()
    folds[:10] = NO_FOLD
    few = replace(corpus, folds=folds)
    settings = DistillSettings("out_of_fold", 1, 1, 0.0, "scratch", 1.0, 1, 1, 32, TRAIN)
    asked: list[int] = []

    class Counting(TorchEngine):
        def generate(self, sources: Any, *others: Any) -> list[list[Hypothesis]]:
            asked.append(len(sources) if len(self.models) == 3 else 0)
            return super().generate(sources, *others)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("textmill.distill.distillation.TorchEngine", Counting)
        _, counts = distilled_corpus(few, [model] * 3, tokenizer, Teaching(settings, replace(DECODE, beam_size=1)), Run("student", 1))
    assert sum(asked) == counts["labelled_by_all"] == 10
