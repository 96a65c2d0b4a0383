from __future__ import annotations

from math import comb

import pytest
from sklearn import metrics

from textmill.evaluate.label_statistics import NO_LABEL, confusion_matrix, mcnemar
from textmill.evaluate.metrics.interface import Predictions, predictions_of


def test_the_confusion_matrix_is_that_of_scikit_learn_with_a_column_for_other_outputs() -> None:
    truth, outputs = list("aabbcca"), list("abbbcax")
    texts = Predictions([""] * 7, outputs, [(label,) for label in truth], labels=("c", "a", "d"))
    table = confusion_matrix(texts)
    assert table.index.tolist() == ["c", "a", "d", "b"] and table.columns.tolist() == ["c", "a", "d", "b", NO_LABEL]
    assert table.loc["a"].tolist() == [0, 1, 0, 1, 1] and table.to_numpy().sum() == 7
    expected = metrics.confusion_matrix(truth[:6], outputs[:6], labels=["c", "a", "d", "b"])
    kept = confusion_matrix(texts.take(range(6)))
    assert kept.columns.tolist() == kept.index.tolist() and (kept.to_numpy() == expected).all()


@pytest.mark.parametrize(("only_first", "only_second"), [(9, 2), (2, 9), (5, 5), (0, 0), (1, 0)])
def test_mcnemar_is_the_exact_binomial_test_of_the_rows_that_one_system_has_right(only_first: int, only_second: int) -> None:
    truth = ["a"] * (only_first + only_second + 6)
    first = predictions_of(truth, ["a"] * only_first + ["b"] * only_second + ["a"] * 3 + ["b"] * 3, truth)
    second = predictions_of(truth, ["b"] * only_first + ["a"] * only_second + ["a"] * 3 + ["b"] * 3, truth)
    found, total = mcnemar(first, second), only_first + only_second
    tail = sum(comb(total, hits) for hits in range(min(only_first, only_second) + 1)) / 2**total
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p_value == pytest.approx(min(1, 2 * tail))
