"""Scripts of languages, and text lengths that are comparable across scripts."""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
HANGUL = "\u1100-\u11ff\u3131-\u318f\uac00-\ud7af"

# Letters of each script, for use inside a regular-expression character class.
LETTERS = {
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff",
    "han": HAN,
    "japanese": HAN + KANA,
    "korean": HANGUL + HAN,
    "cyrillic": "\u0400-\u052f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff",
    "hebrew": "\u0590-\u05ff\ufb1d-\ufb4f",
    "devanagari": "\u0900-\u097f",
    "bengali": "\u0980-\u09ff",
    "gurmukhi": "\u0a00-\u0a7f",
    "gujarati": "\u0a80-\u0aff",
    "tamil": "\u0b80-\u0bff",
    "telugu": "\u0c00-\u0c7f",
    "kannada": "\u0c80-\u0cff",
    "malayalam": "\u0d00-\u0d7f",
    "sinhala": "\u0d80-\u0dff",
    "thai": "\u0e00-\u0e7f",
    "lao": "\u0e80-\u0eff",
    "tibetan": "\u0f00-\u0fff",
    "burmese": "\u1000-\u109f",
    "georgian": "\u10a0-\u10ff\u1c90-\u1cbf\u2d00-\u2d2f",
    "ethiopic": "\u1200-\u139f",
    "khmer": "\u1780-\u17ff",
    "armenian": "\u0530-\u058f",
}
# Languages that are written in only one script. Languages with two scripts (sr, az, uz, ku, ...) are checked by the language model.
_SCRIPT_OF = {
    **dict.fromkeys(("zh", "yue", "wuu"), "han"),
    "ja": "japanese",
    "ko": "korean",
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "ky", "tg", "tt", "ba", "cv"), "cyrillic"),
    "el": "greek",
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug", "ckb"), "arabic"),
    **dict.fromkeys(("he", "yi"), "hebrew"),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), "devanagari"),
    **dict.fromkeys(("bn", "as"), "bengali"),
    "pa": "gurmukhi",
    "gu": "gujarati",
    "ta": "tamil",
    "te": "telugu",
    "kn": "kannada",
    "ml": "malayalam",
    "si": "sinhala",
    "th": "thai",
    "lo": "lao",
    **dict.fromkeys(("bo", "dz"), "tibetan"),
    "my": "burmese",
    "ka": "georgian",
    **dict.fromkeys(("am", "ti"), "ethiopic"),
    "km": "khmer",
    "hy": "armenian",
}
_LATIN = (
    "en de fr es it pt nl sv da no nb nn fi is et lv lt pl cs sk sl hr bs hu ro sq tr vi id ms tl sw eu ca gl cy ga gd mt af eo la oc br"
    " lb fo rw zu xh so ha yo ig"
).split()
_SCRIPT_OF |= dict.fromkeys(_LATIN, "latin")

_WIDE = re.compile(f"[{HAN}{KANA}{HANGUL}]")
HAN_CHARACTER = re.compile(f"[{HAN}]")
CJK_CHARACTER = re.compile(f"[{HAN}{KANA}]")
LETTER_OR_DIGIT = re.compile(r"[^\W_]")
LETTER = re.compile(r"[^\W\d_]")


def script_of(language: str) -> str | None:
    """Return the only script of a language (a key of LETTERS), or None if the language is unknown or has several scripts."""
    return _SCRIPT_OF.get(language)


def letters_of(script: str) -> re.Pattern[str]:
    """Return a pattern that matches one letter of `script`."""
    return re.compile(f"[{LETTERS[script]}]")


def weighted_length(text: str, wide_weight: float) -> float:
    """Return the number of characters, where a Han, kana or hangul character counts as `wide_weight`."""
    if text.isascii():
        return len(text)
    return len(text) + (wide_weight - 1) * len(_WIDE.findall(text))
