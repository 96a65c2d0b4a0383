from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import DECODE, PAIRS

from textmill.base.errors import UserError
from textmill.serving.text_model import TextModel
from textmill.tokenizer.tasks import with_tasks

SOURCES = [source for source, _ in PAIRS]


@pytest.fixture(scope="module")
def translator(model_folder: Path) -> TextModel:
    return TextModel.load(model_folder)


MISTAKES: list[tuple[object, str]] = [
    ("Save the file", r"texts is a single string. Pass a list of strings, such as \['Save the file'\]\."),
    ("x" * 1000, r"texts is a single string\. Pass a list of strings, such as \['x{36}\.\.\.\]\."),
    (b"Save", r"texts is of type bytes\. Pass a list of strings\."),
    (None, r"texts is None \(null\)\. Pass a list of strings\."),
    (5, r"texts is of type int\. Pass a list of strings\."),
    ({"source": "Save"}, r"texts is of type dict\. Pass a list of strings\."),
    (pd.DataFrame({"source": ["Save"]}), r"texts is of type DataFrame\. Pass a list of strings\."),
    ([None], r"texts\[0\] is None \(null\), not a string\."),
    (["Save", 5], r"texts\[1\] is of type int, not a string\."),
    (["Save", ["Open"]], r"texts\[1\] is of type list, not a string\."),
    (["Save", "", float("nan")], r"texts\[2\] is of type float, not a string\."),
    ([b"Save"], r"texts\[0\] is of type bytes, not a string\."),
    (["Save", "a\ud800"], r"texts\[1\] contains a lone surrogate"),
]


@pytest.mark.parametrize(("texts", "message"), MISTAKES)
def test_anything_but_a_list_of_strings_is_refused_in_one_line_that_names_the_position(
    translator: TextModel, texts: object, message: str
) -> None:
    for call in (translator.generate, translator.generate_with_scores):
        with pytest.raises(UserError, match=rf"\A{message}[^\n]*\Z"):
            call(texts)  # type: ignore[operator]


@pytest.mark.parametrize("beam_size", [0, -1, 1.5, "2", True, 2**40])
def test_a_beam_size_that_cannot_be_searched_is_refused_in_one_line(translator: TextModel, beam_size: object) -> None:
    largest = len(translator.tokenizer.pieces)
    with pytest.raises(UserError, match=rf"\Abeam_size is {beam_size!r}, but must be a whole number from 1 to {largest}, [^\n]*\Z"):
        translator.generate(["Save the file"], beam_size=beam_size)  # type: ignore[arg-type]
    assert len(translator.generate(["Save the file"], beam_size=largest)) == 1


def test_any_sequence_of_strings_gives_one_output_per_text(translator: TextModel) -> None:
    texts = ["Open the file", "Save the page"]
    expected = translator.generate(texts)
    for same in (tuple(texts), np.array(texts), pd.Series(texts, index=[5, 3]), iter(texts)):
        assert translator.generate(same) == expected
    assert translator.generate([]) == []


@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u3000\u00a0"])
def test_a_blank_text_has_an_empty_output_and_the_others_are_as_without_it(translator: TextModel, blank: str) -> None:
    alone = translator.generate_with_scores(["Open the file", "Save the page"])
    between = translator.generate_with_scores(["Open the file", blank, "Save the page"])
    assert between == [alone[0], ("", 0.0, False, False), alone[1]]
    assert translator.generate([blank]) == [""]


def test_a_score_is_the_log_probability_of_the_output_over_its_length(translator: TextModel) -> None:
    """Compared with the engine's scoring of the same tokens."""
    tokenizer, engine = translator.tokenizer, translator.engine
    ids = tokenizer.encode_batch([tokenizer.protect(text).text for text in with_tasks(SOURCES, ["ui"] * len(SOURCES))])
    best = [beam[0].tokens for beam in engine.generate(ids, translator.decode)]
    found = translator.generate_with_scores(SOURCES)
    assert [translation.text for translation in found] == translator.generate(SOURCES)
    scores = engine.score(ids, best)
    # An output that keeps the slots of its source can be another one of the beam than the best.
    plain = [row for row, text in enumerate(SOURCES) if "%" not in text and "{" not in text]
    ended = [row for row in plain if not found[row].is_output_truncated]
    assert len(ended) > 20
    for row in ended:
        assert found[row].score == pytest.approx(sum(scores[row]) / (len(best[row]) + 1), abs=0.02)
    assert [found[row].is_output_truncated for row in plain] == [len(best[row]) == DECODE.max_tokens for row in plain]
    assert {translation.is_output_truncated for translation in found} == {True, False}


def test_a_source_beyond_max_tokens_is_reported_as_truncated(translator: TextModel) -> None:
    tokenizer = translator.tokenizer
    sources = ["Open the file " * times for times in range(1, 20)]
    lengths = [len(tokenizer.encode(f"ui: {source}")) for source in sources]
    found = [translation.is_source_truncated for translation in translator.generate_with_scores(sources)]
    assert found == [length > DECODE.max_tokens for length in lengths] and {True, False} == set(found)
