from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from sacrebleu import corpus_chrf

from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions, measure, predictions_of, resamplings
from textmill.report.results import Results
from textmill.report.slices import GROUPINGS, MIN_ROWS, OTHERS, length_names, scored_slices, source_names

CHRF = METRICS["chrf"]("zh")


def texts(table: pd.DataFrame) -> Predictions:
    return predictions_of(table["source"].tolist(), table["hypothesis"].tolist(), table["reference"].tolist())


def test_the_slices_of_every_grouping_have_all_rows_once(make: Callable[..., Results]) -> None:
    (results,) = make(rows=280).tasks
    assert set(results.slices) == set(GROUPINGS) - {"task"}, "a grouping with one slice says nothing"
    for rows in results.slices.values():
        assert sum(each.rows for each in rows) == 280


def test_a_slice_has_the_score_and_the_interval_of_its_rows_alone(make: Callable[..., Results]) -> None:
    (results,) = make(rows=280).tasks
    names = source_names(results.test)
    for each in results.slices["source"]:
        own = results.predictions["exported"][[name == each.name for name in names]]
        assert each.score == pytest.approx(corpus_chrf(own["hypothesis"].tolist(), [own["reference"].tolist()]).score)
        whole = measure(CHRF, texts(own), resamplings(len(own), 100, 1))
        assert whole is not None and (each.low, each.high) == (whole.low, whole.high)


def test_few_rows_have_a_score_and_no_interval(make: Callable[..., Results]) -> None:
    statistics = CHRF.statistics(texts(make().tasks[0].predictions["exported"]))
    names = ["few"] * (MIN_ROWS - 1) + ["many"] * (90 - MIN_ROWS + 1)
    few, many = scored_slices(CHRF, names, statistics, statistics, 100, 1)
    assert few.low is None and few.high is None and few.score > 0
    assert many.low is not None and many.high is not None and many.low <= many.score <= many.high


def test_the_smallest_of_many_sources_become_one_slice(make: Callable[..., Results]) -> None:
    statistics = CHRF.statistics(texts(make().tasks[0].predictions["exported"]))
    names = [f"file-{row // 2}" for row in range(90)]
    slices = scored_slices(CHRF, names, statistics, statistics, 100, 1)
    assert len(slices) == 20 and sum(each.rows for each in slices) == 90
    assert next(each.rows for each in slices if each.name == OTHERS) == 90 - 2 * 19


@pytest.mark.parametrize(
    ("characters", "name"), [(1, "1–10"), (10, "1–10"), (11, "11–20"), (80, "41–80"), (320, "161–320"), (321, "> 320")]
)
def test_a_length_belongs_to_the_range_that_holds_it(characters: int, name: str) -> None:
    assert length_names(pd.DataFrame({"source": ["x" * characters]})) == [name]


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("django-5.2/django/locale/zh_Hans/LC_MESSAGES/django.po", "django-5.2"),
        ("data/raw/news/a.tsv", "news/a.tsv"),
        ("data/raw/a.tsv", "a.tsv"),
    ],
)
def test_a_package_is_one_source_and_so_is_each_file_of_the_user(origin: str, name: str) -> None:
    assert source_names(pd.DataFrame({"origin": [origin]})) == [name]
