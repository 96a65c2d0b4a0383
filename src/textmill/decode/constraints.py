"""Which tokens may not or should not come next, with the semantics of CTranslate2 4.8. Every engine applies them to its own arrays."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.special import END

Indices = tuple[list[int], list[int]]


def repeated_tokens(prefixes: Sequence[Sequence[int]]) -> Indices:
    """Return (rows, tokens): the different tokens of each prefix, to which the repetition penalty applies (Keskar et al. 2019)."""
    pairs = [(row, token) for row, prefix in enumerate(prefixes) for token in dict.fromkeys(prefix)]
    return [row for row, _ in pairs], [token for _, token in pairs]


def forbidden_tokens(prefixes: Sequence[Sequence[int]], decode: DecodeSettings) -> Indices:
    """Return (rows, tokens): END before decode.min_tokens, and what would repeat an n-gram of decode.no_repeat_ngram tokens.

    The second is the blocking of Paulus et al. 2018, section 2.5, for any n.
    """
    rows: list[int] = []
    tokens: list[int] = []
    for row, prefix in enumerate(prefixes):
        found = _completing(prefix, decode.no_repeat_ngram)
        if len(prefix) < decode.min_tokens:
            found.add(END)
        rows += [row] * len(found)
        tokens += sorted(found)
    return rows, tokens


def _completing(prefix: Sequence[int], size: int) -> set[int]:
    """The tokens that complete an n-gram of this size that the prefix already has. size: 0 is off."""
    if size == 0 or len(prefix) < size:
        return set()
    begin = list(prefix[len(prefix) - size + 1 :])
    return {prefix[end] for end in range(size - 1, len(prefix)) if list(prefix[end - size + 1 : end]) == begin}
