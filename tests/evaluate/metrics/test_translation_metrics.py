from __future__ import annotations

from itertools import zip_longest

import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from salads import salad

from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import measure, resamplings

REFERENCE = {
    ("bleu", "en"): lambda: BLEU(),
    ("bleu", "zh"): lambda: BLEU(tokenize="zh"),
    ("chrf", "en"): lambda: CHRF(),
    ("chrf", "zh"): lambda: CHRF(),
    ("chrf_plus", "en"): lambda: CHRF(word_order=2),
    ("chrf_plus", "zh"): lambda: CHRF(word_order=2),
    ("ter", "en"): lambda: TER(),
    ("ter", "zh"): lambda: TER(normalized=True, asian_support=True),
}


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize(("name", "language"), REFERENCE)
def test_a_score_and_its_signature_are_those_of_sacrebleu_with_one_or_several_references(name: str, language: str, references: int) -> None:
    texts = salad(language, 1, references=references)
    metric = REFERENCE[name, language]()
    expected = metric.corpus_score(list(texts.hypotheses), [list(stream) for stream in zip_longest(*texts.references)]).score
    result = measure(METRICS[name](language), texts, resamplings(len(texts.sources), 100, 1))
    assert result is not None and result.score == pytest.approx(expected, abs=1e-9)
    assert result.signature == str(metric.get_signature())
    assert result.low <= result.score <= result.high


def test_an_exact_match_is_one_with_any_reference() -> None:
    texts = salad("en", 2)
    metric = METRICS["exact_match"]("en")
    expected = sum(any(output == text for text in wanted) for output, wanted in zip(texts.hypotheses, texts.references, strict=True))
    assert 0 < expected < len(texts.sources)
    assert metric.score(metric.statistics(texts)) == pytest.approx(100 * expected / len(texts.sources))
