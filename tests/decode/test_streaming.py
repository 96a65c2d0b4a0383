"""Output as text while it is decoded, and labels, with an engine that says what the test wants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import DECODE

from textmill.base.errors import UserError
from textmill.decode.generate import generate, generate_n_best
from textmill.decode.labels import label_log_probabilities
from textmill.decode.settings import DecodeSettings
from textmill.decode.streaming import Piece, stream
from textmill.decode.torch_engine import TorchEngine
from textmill.model.interface import Seq2SeqModel
from textmill.tokenizer.protection import restore
from textmill.tokenizer.special import END
from textmill.tokenizer.tokenizer import Tokenizer


class Says:
    """An engine that decodes the given tokens for every source."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)

    def stream(self, source: Sequence[int], decode: DecodeSettings, seed: int = 0) -> Iterator[int]:
        yield from self.tokens[: decode.max_tokens]
        if len(self.tokens) < decode.max_tokens:
            yield END


def pieces(tokenizer: Tokenizer, tokens: Sequence[int], source: str = "Open it", stop: Sequence[str] = (), limit: int = 200) -> list[Piece]:
    engine = Says(tokens)
    return list(stream(source, tokenizer, engine, replace(DECODE, max_tokens=limit), stop))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["打开文件", "Zürich 🎉 é", "a\u2581b\ufdd0c\ufdd1d\ufdd1", "line\nline", "\ufffd is a character too"])
def test_pieces_together_are_the_text_and_hold_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    found = pieces(tokenizer, tokens)
    assert "".join(piece.text for piece in found) == text == tokenizer.decode(tokens)
    assert [piece.reason for piece in found] == [""] * (len(found) - 1) + ["end"]
    assert len(found) > 3 and all(piece.text for piece in found[:-1])


@given(st.lists(st.integers(0, 359), max_size=30))
def test_no_tokens_give_a_broken_character_and_the_text_only_grows(tokenizer: Tokenizer, tokens: list[int]) -> None:
    found = "".join(piece.text for piece in pieces(tokenizer, [token for token in tokens if token != END]))
    assert found == restore(tokenizer.decode(tokens), tokenizer.protect("Open it")) and "\ufffd" not in found
    found.encode("utf-8")


def test_bytes_that_are_no_character_are_dropped(tokenizer: Tokenizer) -> None:
    def ids(content: bytes) -> list[int]:
        return [tokenizer.pieces.index(f"<0x{byte:02X}>") for byte in content]

    a = tokenizer.encode("文件")
    for content, expected in (
        (b"\xe5", ""),
        (b"\xe5\xa5", ""),
        ("好".encode(), "好"),
        (b"\xe5" + "好".encode() + b"\xff", "好"),
        (b"\xe5A", "A"),
        (b"\xc0\xaf", ""),  # an overlong form
        (b"\xed\xa0\x80", ""),  # a surrogate
        ("\ufffd".encode(), "\ufffd"),
    ):
        assert tokenizer.decode([*a, *ids(content)]) == "文件" + expected
        assert tokenizer.decode([*a, *ids(content), *a]).startswith("文件" + expected)


@pytest.mark.parametrize(
    ("stop", "expected", "reason"),
    [
        (["file"], "Open the ", "stop"),
        (["xyz"], "Open the file now", "end"),
        (["now", "the"], "Open ", "stop"),
        (["now!"], "Open the file now", "end"),
        (["O"], "", "stop"),
        ([""], "Open the file now", "end"),
    ],
)
def test_a_stop_string_ends_the_text_before_it_and_no_part_of_it_is_shown(
    tokenizer: Tokenizer, stop: list[str], expected: str, reason: str
) -> None:
    found = pieces(tokenizer, tokenizer.encode("Open the file now"), stop=stop)
    assert "".join(piece.text for piece in found) == expected and found[-1].reason == reason


def test_a_text_at_the_limit_ends_because_of_its_length(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("Open the file now")
    assert pieces(tokenizer, tokens, limit=len(tokens))[-1].reason == "length"
    assert pieces(tokenizer, tokens, limit=len(tokens) + 1)[-1].reason == "end"


def test_slots_become_their_spans_and_an_empty_source_has_no_text(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(tokenizer.protect("打开 %s").text)
    assert "".join(piece.text for piece in pieces(tokenizer, tokens, source="Open %s")) == "打开 %s"
    assert pieces(tokenizer, tokens, source="") == [Piece("", "end")]


LABELS = ["打开", "文件", "关闭 文件 now", "x"]


def test_label_probabilities_are_the_softmax_of_their_scores(model: Seq2SeqModel, tokenizer: Tokenizer) -> None:
    engine, texts = TorchEngine([model]), ["Open the file", "Save %s", ""]
    plain = label_log_probabilities(texts, LABELS, tokenizer, engine, DECODE)
    for text, scores in zip(texts, plain, strict=True):
        assert sum(map(math.exp, scores)) == pytest.approx(1)
        if text:
            source = tokenizer.encode(tokenizer.protect(text).text)
            weights = [math.exp(sum(engine.score([source], [tokenizer.encode(label)])[0])) for label in LABELS]
            assert list(map(math.exp, scores)) == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-3)
    assert plain[2] == pytest.approx([math.log(1 / 4)] * 4)
    even = label_log_probabilities(texts, LABELS, tokenizer, engine, replace(DECODE, temperature=1e6))
    assert even[0] == pytest.approx([math.log(1 / 4)] * 4, abs=1e-3)
    cold = label_log_probabilities(texts, LABELS, tokenizer, engine, replace(DECODE, temperature=0.5))
    assert cold[0][0] - cold[0][1] == pytest.approx(2 * (plain[0][0] - plain[0][1]), rel=1e-6)


def test_labels_of_many_texts_are_scored_in_parts(model: Seq2SeqModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, texts = TorchEngine([model]), ["Open the file", "Save %s", "", "Close", "Open the file now"]
    whole = label_log_probabilities(texts, LABELS, tokenizer, engine, DECODE)
    sizes, score = [], engine.score
    monkeypatch.setattr(engine, "score", lambda sources, targets: sizes.append(len(sources)) or score(sources, targets))
    monkeypatch.setattr("textmill.decode.labels._CHUNK_PAIRS", 9)
    parts = label_log_probabilities(texts, LABELS, tokenizer, engine, DECODE)
    assert sizes == [8, 4, 4], "two texts at a time; an empty one is not scored"
    assert np.array(parts) == pytest.approx(np.array(whole), abs=1e-4)


def test_with_the_method_labels_the_output_is_a_label(model: Seq2SeqModel, tokenizer: Tokenizer) -> None:
    decode, engine = replace(DECODE, method="labels"), TorchEngine([model])
    texts = ["Open the file", "Save %s", "", "Open the file " * 20]
    found = generate_n_best(texts, tokenizer, engine, decode, LABELS, 4)
    for text, outputs, scores in zip(texts, found, label_log_probabilities(texts, LABELS, tokenizer, engine, decode), strict=True):
        assert {output.text for output in outputs} == set(LABELS)
        assert [output.score for output in outputs] == sorted(scores, reverse=True)
        assert outputs[0].is_source_truncated == (len(text) > 100)
    assert generate(texts, tokenizer, engine, decode, LABELS) == [outputs[0].text for outputs in found]
    for labels, message in (((), "there are no labels"), (["a", "b", "a"], "two labels are equal")):
        with pytest.raises(UserError, match=message):
            generate(texts, tokenizer, engine, decode, labels)


@pytest.mark.parametrize("cut", ["start", "end"])
def test_a_long_source_is_cut_at_the_end_that_is_asked_for(model: Seq2SeqModel, cut: str) -> None:
    engine, source = TorchEngine([model]), list(range(10, 40))
    decode = replace(DECODE, max_source_tokens=12, cut=cut)
    read = source[-12:] if cut == "start" else source[:12]
    assert engine.generate([source], decode) == engine.generate([read], DECODE)
    assert list(engine.stream(source, decode)) == list(engine.stream(read, DECODE))
