"""An output as text, while it is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.protection import restore
from textmill.tokenizer.special import END
from textmill.tokenizer.tokenizer import UNFINISHED_ESCAPE, Tokenizer


class Piece(NamedTuple):
    """The next part of an output.

    text: of whole characters; can be empty in the last piece.
    reason: empty, and in the last piece why the output ends: the model ended it, it has decode.max_tokens tokens, or a stop string
        followed, which is not part of the text.
    """

    text: str
    reason: Literal["", "end", "length", "stop"] = ""


def stream(
    text: str, tokenizer: Tokenizer, engine: Engine, decode: DecodeSettings, stop: Sequence[str] = (), seed: int = 0
) -> Iterator[Piece]:
    """Yield an output piece by piece. All pieces together are the output that `generate` has with a beam of 1, or with sampling.

    stop: the output ends before the first of these strings. Text that could be the beginning of one is held back.
    An empty source has one empty piece.
    """
    protected = tokenizer.protect(text)
    source = tokenizer.encode(protected.text)
    given, tokens = 0, []
    for token in engine.stream(source, decode, seed) if source else (END,):
        tokens.append(token)
        is_last = token == END or len(tokens) == decode.max_tokens
        so_far = restore(tokenizer.decode(tokens), protected)
        ends = [found for found in (so_far.find(each) for each in stop if each) if found >= 0]
        if ends:
            yield Piece(so_far[given : min(ends)], "stop")
            return
        if is_last:
            yield Piece(so_far[given:], "end" if token == END else "length")
            return
        safe = len(so_far) - _held_back(so_far, stop)
        if safe > given:
            yield Piece(so_far[given:safe])
            given = safe


def _held_back(text: str, stop: Sequence[str]) -> int:
    """The number of characters at the end of a text that may be the beginning of a stop string, or half of an escape."""
    beginnings = [size for each in stop for size in range(1, len(each)) if text.endswith(each[:size])]
    return max([*beginnings, int(text.endswith(UNFINISHED_ESCAPE))], default=0)
