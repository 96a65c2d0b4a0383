from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import DECODE

from textmill.decode.generate import generate
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.protection import SLOTS, keeps_slots, protect, protect_target, restore
from textmill.tokenizer.tokenizer import Tokenizer

A, B = SLOTS[:2]


@pytest.mark.parametrize(
    ("source", "text", "spans"),
    [
        ("By %(user)s on %(date)s", f"By {A} on {B}", ("%(user)s", "%(date)s")),
        ("%s of %s", f"{A} of {A}", ("%s",)),
        ('See <a href="%(url)s">here</a>.', f"See {A}here{B}.", ('<a href="%(url)s">', "</a>")),
        ("Look at https://example.org/a_b?c=%20d.", f"Look at {A}.", ("https://example.org/a_b?c=%20d",)),
        ("Use :class:`~a.b.C` now", f"Use {A} now", (":class:`~a.b.C`",)),
        ("JupyterLab 4.5 needs 404 or 7", f"{A} {B} needs {SLOTS[2]} or 7", ("JupyterLab", "4.5", "404")),
        ("The app_label of path.to.model", f"The {A} of {B}", ("app_label", "path.to.model")),
        ("write to me@example.org", f"write to {A}", ("me@example.org",)),
        ("请联系me@example.org获取帮助", f"请联系{A}获取帮助", ("me@example.org",)),
        ("{{ ticket }}, {0}", f"{A}, {B}", ("{{ ticket }}", "{0}")),
        ("Save the file. Then close it; 100% sure", f"Save the file. Then close it; {A}% sure", ("100",)),
        ("Enable/disable OK", "Enable/disable OK", ()),
        ("打开文件 a < b", "打开文件 a < b", ()),
    ],
)
def test_which_texts_are_spans(source: str, text: str, spans: tuple[str, ...]) -> None:
    assert protect(source) == (text, spans)


@given(st.text(alphabet=st.sampled_from("ab_.%s{}<>/:`0129 A文\ue000\ue00f\n"), max_size=60))
def test_any_source_comes_back_whole(source: str) -> None:
    protected = protect(source)
    assert restore(protected.text, protected) == source
    # Not by `restore`, which gives a span back at most as often as the source has it: "00:00A" holds one, and "00" twice.
    target = protect_target(source, protected.spans)
    assert "".join(dict(zip(SLOTS, protected.spans, strict=False)).get(each, each) for each in target) == source


def test_a_slot_character_of_the_source_comes_back_also_when_all_slots_are_taken() -> None:
    source = " ".join(f"{{name{number}}}" for number in range(len(SLOTS) + 2)) + f" {SLOTS[5]}{SLOTS[0]}"
    protected = protect(source)
    assert len(protected.spans) == len(SLOTS)
    assert restore(protected.text, protected) == source


def test_a_target_gets_the_slots_of_its_source_longer_spans_first_and_only_those() -> None:
    source = protect("%s and %s2: <b>%(x)s</b>")
    assert protect_target("<b>%(x)s</b>：%s，%d", source.spans).count("%") == 1  # %d is no span of the source
    assert protect_target("a_b_c和a_b", ("a_b", "a_b_c")) == f"{B}和{A}"


def test_spans_beyond_the_last_slot_stay_as_they_are() -> None:
    source = " ".join(f"{{name{number}}}" for number in range(len(SLOTS) + 2))
    protected = protect(source)
    assert len(protected.spans) == len(SLOTS) and protected.text.endswith("{name16} {name17}")


def test_a_span_comes_back_at_most_as_often_as_the_source_has_it() -> None:
    assert restore(f"{A}和{B}", protect("%s")) == "%s和"
    assert restore(f"{A}和{B}{A}{A}{B}{A}", protect("%s and %d, %s")) == "%s和%d%s"
    assert keeps_slots(f"{A} {A}", f"{A}{A}") and not keeps_slots(f"{A} {A}", A) and not keeps_slots("x", A)


class Fixed:
    """An engine that returns the same outputs for every source."""

    def __init__(self, outputs: list[list[int]]) -> None:
        self.outputs = outputs

    def generate(self, sources: list[list[int]], decode: DecodeSettings, num_hypotheses: int = 1, seed: int = 0) -> list[list[Hypothesis]]:
        return [[Hypothesis(tokens, -1.0) for tokens in self.outputs[:num_hypotheses]] for _ in sources]

    def score(self, sources: object, targets: object) -> list[list[float]]:
        raise AssertionError

    def can_score(self, source: object, target: object) -> bool:
        raise AssertionError


def test_of_a_beam_the_best_that_keeps_the_slots_is_taken(tokenizer: Tokenizer) -> None:
    without, doubled, right = (tokenizer.encode(text) for text in ("打开", f"打开{A}{A}", f"打开 {A}"))
    assert generate(["Open %s"], tokenizer, Fixed([without, doubled, right]), DECODE) == ["打开 %s"]
    assert generate(["Open %s"], tokenizer, Fixed([without, doubled]), DECODE) == ["打开"]  # none does: the best as it is
    assert generate(["Open it"], tokenizer, Fixed([doubled, without]), DECODE) == ["打开"]
