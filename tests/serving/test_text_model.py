from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exported import with_generation
from toy import DECODE, PAIRS

from textmill.base.errors import UserError
from textmill.base.files import read_json
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


def test_a_model_that_was_exported_before_there_were_methods_loads_and_does_the_same(
    translator: TextModel, model_folder: Path, tmp_path: Path
) -> None:
    former = {"beam_size", "length_penalty", "max_tokens", "batch_size", "device", "tasks"}
    newer = dict.fromkeys(set(read_json(model_folder / "generation.json")) - former)
    old = with_generation(model_folder, tmp_path / "old", **newer)
    assert newer and old.decode == translator.decode
    assert old.generate(SOURCES[:20]) == translator.generate(SOURCES[:20])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["a"]}, "labels must be a list of texts per task"),
        ({"labels": {"ui": []}}, "labels must be a list of texts per task"),
        ({"labels": {"qa": ["a"]}}, "labels names the task 'qa', which is not in tasks"),
        ({"of_tasks": {"ui": {"temperature": 0}}}, "temperature: must be greater than 0."),
        ({"of_tasks": {"qa": {}}}, "of_tasks names the task 'qa', which is not in tasks"),
        ({"of_tasks": []}, "of_tasks must have settings per task"),
        ({"turn_separator": ""}, "turn_separator must be a text"),
        ({"method": "magic"}, "generation.method is 'magic' .* but must be one of: beam, sampling, labels"),
        ({"tasks": None}, "does not name the tasks"),
    ],
)
def test_a_wrong_generation_file_is_refused_in_one_line(
    model_folder: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=rf"\A[^\n]*generation.json: [^\n]*{message}[^\n]*\Z"):
        with_generation(model_folder, tmp_path / "wrong", **changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 2}, "unknown option beam. Known: batch_size, beam_size, "),
        ({"temperature": 0.0}, "temperature: must be greater than 0."),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"method": "magic"}, "method is 'magic'"),
        ({"seed": 1.5}, "seed is 1.5, but must be a whole number."),
        ({"method": "labels"}, "there are no labels to choose from."),
        ({"method": "sampling", "min_p": 0.1}, "min_p cannot be used with the exported model"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(translator: TextModel, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=rf"\A{message}[^\n]*\Z"):
        translator.generate(["Open the file"], **options)


def test_sampling_depends_on_the_seed_and_the_text_alone(translator: TextModel) -> None:
    first = translator.generate(SOURCES[:12], method="sampling", seed=1)
    assert first == [translator.generate([text], method="sampling", seed=1)[0] for text in SOURCES[:12]]
    assert first != translator.generate(SOURCES[:12], method="sampling", seed=2)


def test_n_best_outputs_begin_with_the_best_and_a_stream_is_greedy(translator: TextModel) -> None:
    texts = ["Open the file", "", "Save the page"]
    found = translator.generate_n_best(texts, 3)
    assert [len(outputs) for outputs in found] == [3, 1, 3]
    assert [outputs[0] for outputs in found] == translator.generate_with_scores(texts)
    assert len(translator.generate_n_best(texts, 6)[0]) == 6, "the beam is widened"
    for text, greedy in zip(texts, translator.generate(texts, beam_size=1), strict=True):
        pieces = list(translator.stream(text))
        assert "".join(piece.text for piece in pieces) == greedy and pieces[-1].reason in ("end", "length")


def test_labels_are_not_streamed(translator: TextModel) -> None:
    with pytest.raises(UserError, match=r"\Alabels are not decoded token by token[^\n]*\Z"):
        translator.stream("Open the file", method="labels")


def test_classify_gives_probabilities_of_the_labels_and_uses_the_exported_ones(
    translator: TextModel, model_folder: Path, tmp_path: Path
) -> None:
    labels, texts = ["打开", "文件", "关闭"], ["Open the file", "Save the page", ""]
    exported = with_generation(model_folder, tmp_path / "labels", labels={"ui": labels}, of_tasks={"ui": {"temperature": 2.0}})
    plain, warm = translator.classify(texts, labels), exported.classify(texts)
    assert warm == translator.classify(texts, labels, temperature=2.0)
    assert exported.generate(texts[:2], method="labels") == [found.label for found in warm[:2]]
    for text, found in zip(texts, plain, strict=True):
        assert list(found.probabilities) == labels and sum(found.probabilities.values()) == pytest.approx(1)
        assert found.probability == max(found.probabilities.values()) == found.probabilities[found.label]
        if text:
            scores = translator.score([text] * 3, labels)
            ratio = found.probabilities["打开"] / found.probabilities["文件"]
            assert ratio == pytest.approx(np.exp(scores[0] - scores[1]), rel=1e-3)
    with pytest.raises(UserError, match="there are no labels to choose from: none were exported for this task"):
        translator.classify(texts)
    with pytest.raises(UserError, match="there are 2 sources and 1 targets"):
        translator.score(["a", "b"], ["c"])


def test_a_dialogue_is_trimmed_from_its_old_end(translator: TextModel, model_folder: Path, tmp_path: Path) -> None:
    model = with_generation(model_folder, tmp_path / "chat", turn_separator=" | ", max_source_tokens=40)
    turns = ["Open the file", "打开文件", "Save the page now", "保存页面", "Close %s"]
    asked = [model.prompt(turns[:number]) for number in range(1, 6)]
    assert asked[0] == turns[0] and asked[1] == "Open the file | 打开文件"
    assert all(source.endswith(turn) for source, turn in zip(asked, turns, strict=True))
    assert not asked[-1].startswith(turns[0]), "the oldest turn is left out"
    for source in asked:
        assert len(model.tokenizer.encode("ui: " + model.tokenizer.protect(source).text)) <= 40
        assert " | ".join(turns).find(source) >= 0
    assert model.reply(turns) == model.generate([asked[-1]])[0]
    long = "Save the page now " * 20
    assert model.prompt(["a", long]) == long
    assert model.reply(["a", long]) == model.generate([long], cut="start")[0] != model.generate([long])[0]
    with pytest.raises(UserError, match="this model has no turn separator"):
        translator.reply(turns)
    assert translator.reply(turns[:1]) == translator.generate(turns[:1])[0]


def test_the_settings_of_a_task_decide_what_is_read_of_a_long_text(model_folder: Path, tmp_path: Path) -> None:
    """The name of the task stays when the start of a text is cut, and a dialogue is trimmed to the limit of its task."""
    own = {"cut": "start", "max_source_tokens": 40}
    model = with_generation(model_folder, tmp_path / "own", turn_separator=" | ", of_tasks={"ui": own})
    text = "Save the page now " * 20
    name, ids = model.tokenizer.encode("ui: "), model.tokenizer.encode(f"ui: {text}")
    read = [*name, *ids[len(ids) - 40 + len(name) :]]
    whole = model.generation.decode_of("ui")
    assert model.generate_with_scores([text])[0].score == model.engine.generate([read], whole)[0][0].score
    turns = ["Save the page now", "保存页面", "Close the window"]
    assert DECODE.max_tokens < len(model.tokenizer.encode(f"ui: {' | '.join(turns)}")) <= 40
    assert model.prompt(turns) == " | ".join(turns)
