from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest
import sacrebleu

from textmill.base.errors import UserError
from textmill.evaluate import baselines, metrics
from textmill.evaluate.baselines import BASELINES
from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import measure, predictions_of, resampled_sums, resamplings
from textmill.evaluate.scoring import evaluation_of, only_texts, score_outputs
from textmill.evaluate.significance import paired_difference
from textmill.tasks.kinds import KINDS
from textmill.tasks.settings import TaskSettings

SOURCES = ["Save %s", "Open the file", "Delete {name} now", "Close", "Print"]
REFERENCES = ["保存 %s", "打开文件", "立即删除 {name}", "关闭", "打印"]
HYPOTHESES = ["保存 %s", "打开文件夹", "删除名称", "关闭", "打印页面"]


def test_scores_are_those_of_sacrebleu() -> None:
    weights = resamplings(5, 200, 1)
    expected = {
        "bleu": sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], tokenize="zh").score,
        "chrf": sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score,
        "exact_match": 40.0,
        "placeholders_kept": 50.0,
    }
    for name in expected:
        result = measure(METRICS[name]("zh"), predictions_of(SOURCES, HYPOTHESES, REFERENCES), weights)
        assert result is not None
        assert result.score == pytest.approx(expected[name]), name
        assert result.low <= result.score <= result.high
    assert set(KINDS["translation"].metrics) <= set(expected)
    assert "tok:zh" in METRICS["bleu"]("zh").signature and "tok:13a" in METRICS["bleu"]("de").signature


def test_everything_that_makes_a_metric_or_baseline_is_listed() -> None:
    made = set()
    for module in pkgutil.iter_modules(metrics.__path__, "textmill.evaluate.metrics."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if value in METRICS.values() or getattr(value, "__annotations__", {}) == {"target_language": "str", "return": "Metric"}:
                made.add(name)
    assert made == set(METRICS)
    assert all(make("en").name == make("zh").name == name for name, make in METRICS.items())
    functions = {name for name, value in vars(baselines).items() if getattr(value, "__annotations__", {}).get("return") == "list[str]"}
    assert functions == set(BASELINES)


def test_a_resampled_score_is_that_of_the_resampled_texts() -> None:
    weights = resamplings(5, 3, 7)
    for name in ("bleu", "chrf"):
        metric = METRICS[name]("zh")
        statistics = metric.statistics(predictions_of(SOURCES, HYPOTHESES, REFERENCES))
        for row in weights:
            chosen = np.repeat(np.arange(5), row.astype(int))
            texts = [HYPOTHESES[index] for index in chosen], [REFERENCES[index] for index in chosen]
            whole = metric.score(metric.statistics(predictions_of(SOURCES, *texts)))
            assert metric.resampled(statistics, row[None])[0] == pytest.approx(whole)


def test_paired_differences_see_a_better_system_and_no_difference_in_equal_ones() -> None:
    references = [f"第 {number} 行文字内容" for number in range(60)]
    good = predictions_of(references, references[:50] + ["错"] * 10, references)
    bad = predictions_of(references, references[:20] + ["错误"] * 40, references)
    weights = resamplings(60, 500, 1)
    metric = METRICS["chrf"]("zh")
    better = paired_difference(metric, good, bad, weights)
    assert better.low > 0 and better.is_significant and better.p_value <= 2 / 500
    worse = paired_difference(metric, bad, good, weights)
    assert worse.difference == pytest.approx(-better.difference) and worse.high < 0
    same = paired_difference(metric, good, good, weights)
    assert (same.difference, same.low, same.high, same.is_significant) == (0, 0, 0, False) and same.p_value == 1


def test_baselines() -> None:
    development = pd.DataFrame({"source": ["Open a file", "Close it", "Open b"], "target": ["甲", "乙", "乙"], "task": ""})
    test = pd.DataFrame({"source": ["open file", "close"], "task": ""})
    assert BASELINES["copy"](development, test) == ["open file", "close"]
    assert BASELINES["translation_memory"](development, test) == ["甲", "乙"]
    assert BASELINES["majority"](development, test) == ["乙", "乙"]
    assert BASELINES["translation_memory"](development.assign(source=["", " ", ""]), test) == ["甲", "甲"], "nothing is near"


def test_baselines_answer_from_their_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("The film was great", "棒", "translate"),
        ("I liked it", "good", "feeling"),
        ("It was so bad", "bad", "feeling"),
        ("Hi", "棒", "translate"),
    ]
    development = pd.DataFrame(rows, columns=["source", "target", "task"])
    test = pd.DataFrame({"source": ["The film was great"] * 3, "task": ["feeling", "translate", "unknown"]})
    assert BASELINES["translation_memory"](development, test)[1:] == ["棒", "棒"] and BASELINES["translation_memory"](development, test)[
        0
    ] in ("good", "bad")
    assert BASELINES["majority"](development, test) == ["good", "棒", "棒"]
    whole = BASELINES["translation_memory"](development, pd.concat([test] * 9))
    monkeypatch.setattr("textmill.similarity.translation_memory._MOST_SIMILARITIES", 4)
    assert BASELINES["translation_memory"](development, pd.concat([test] * 9)) == whole


def test_resamplings_and_their_sums_are_those_of_one_large_table() -> None:
    weights = resamplings(40, 130, 3)
    whole = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=130)
    statistics = np.random.default_rng(1).integers(0, 9, (40, 5)).astype(float)
    assert np.array_equal(weights, whole) and np.array_equal(resampled_sums(weights, statistics), whole @ statistics)


def test_bleu_cuts_texts_without_spaces_into_characters() -> None:
    for language, output, reference in (("yue", "我哋去食飯囉", "我哋去食飯啦"), ("ja", "ファイルを開きます", "ファイルを開く")):
        metric = METRICS["bleu"](language)
        assert metric.score(metric.statistics(predictions_of([""], [output], [reference]))) > 30


def test_a_metric_that_does_not_apply_is_left_out_and_an_empty_test_set_is_an_error() -> None:
    test = pd.DataFrame({"id": ["1", "2"], "source": ["a", "b"], "target": ["甲", "乙"], "task": ""})
    evaluation = evaluation_of(test, test, {"translate": TaskSettings("en", target_language="zh")}, {}, 100, 1)
    scores, predictions = score_outputs(evaluation, only_texts(["甲", "丙"]))
    assert "placeholders_kept" not in scores and scores["exact_match"]["score"] == 50
    assert predictions["score"].tolist()[0] == 100
    with pytest.raises(UserError, match="the test set is empty"):
        score_outputs(evaluation._replace(test=test.iloc[:0]), only_texts([]))
