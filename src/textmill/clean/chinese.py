"""Detect how a Chinese text is written: simplified or traditional characters, Mandarin or Cantonese.

No table of characters is needed: GB 2312 has the simplified characters and Big5 the traditional ones. A character that is in
only one of them is evidence. A character in both (台, 里, 后, ...) or in neither is not.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from textmill.text.scripts import HAN_CHARACTER

VARIANTS = ("simplified", "traditional", "cantonese", "unclear")

# Characters of written Cantonese that Mandarin hardly uses. 係 is a word in Cantonese, but part of 關係 and 係數 in both.
_CANTONESE = re.compile("[嘅啲唔佢咗喺嚟哋冇嗰咁嘢畀諗瞓嗱噉睇乜喐嗌咩啩嘥攰孭揾]|(?<![關关維维聯联連连干])係(?![數数統统列])")


@lru_cache(maxsize=4096)  # each text is checked twice: for its language and for its variant
def chinese_variant(text: str) -> str:
    """Return one of VARIANTS. `unclear`: no evidence, or equal evidence for simplified and traditional.

    Cantonese needs at least two Cantonese characters (more in a long text), or one in a short text, so that a name or a quoted
    word is not enough.
    """
    han = HAN_CHARACTER.findall(text)
    cantonese = len(_CANTONESE.findall(text))
    if cantonese >= 2 + len(han) // 40 or (cantonese and len(han) <= 16):
        return "cantonese"
    simplified, traditional = _evidence()
    first, second = len(simplified.intersection(han)), len(traditional.intersection(han))
    if first == second:
        return "unclear"
    return "simplified" if first > second else "traditional"


@cache
def _evidence() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters that only simplified text uses, and those that only traditional text uses."""
    common = [chr(code) for code in range(0x4E00, 0xA000)]
    simplified = {character for character in common if _encodes(character, "gb2312")}
    traditional = {character for character in common if _encodes(character, "big5")}
    return frozenset(simplified - traditional), frozenset(traditional - simplified)


def _encodes(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
