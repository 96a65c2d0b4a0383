"""How a Chinese text is written: simplified or traditional characters, Mandarin or Cantonese.

No table of characters is needed: GB 2312 has the simplified ones, Big5 the traditional ones, and a character that is in one of
them only tells. Characters that are in both (台, 里, 后, ...) or in neither tell nothing.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from textmill.text.scripts import HAN_CHARACTER

VARIANTS = ("simplified", "traditional", "cantonese", "unclear")

# What Cantonese writes and Mandarin does not, or hardly: 係 is a word of its own in Cantonese, and a part of 關係 and 係數 in both.
_CANTONESE = re.compile("[嘅啲唔佢咗喺嚟哋冇嗰咁嘢畀諗瞓嗱噉睇乜喐嗌咩啩嘥攰孭揾]|(?<![關关維维聯联連连干])係(?![數数統统列])")


@lru_cache(maxsize=4096)  # asked twice in a row: what language, and which way of writing
def chinese_variant(text: str) -> str:
    """One of VARIANTS. `unclear`: none of its characters tells, or as many tell one thing as the other.

    Cantonese needs two characters that only Cantonese writes, or one in a short text: a name or a quoted word is not enough.
    """
    han = HAN_CHARACTER.findall(text)
    cantonese = len(_CANTONESE.findall(text))
    if cantonese >= 2 + len(han) // 40 or (cantonese and len(han) <= 16):
        return "cantonese"
    simplified, traditional = _telling()
    first, second = len(simplified.intersection(han)), len(traditional.intersection(han))
    if first == second:
        return "unclear"
    return "simplified" if first > second else "traditional"


@cache
def _telling() -> tuple[frozenset[str], frozenset[str]]:
    """Characters of simplified text only, and of traditional text only."""
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
