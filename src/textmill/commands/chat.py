"""Talk with an exported model: each line is a turn, and its reply is printed as it is decoded."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from textmill.base.errors import UserError
from textmill.commands.run import model_folder
from textmill.serving.text_model import TextModel

_PROMPT = "> "


def main(model: str, task: str, options: Mapping[str, Any], is_verbose: bool) -> None:
    """Answer the lines of stdin until its end or Ctrl-C. Raises UserError for a wrong model, task or option, or bad UTF-8.

    is_verbose: print on stderr how long the first piece and the whole reply took.
    """
    loaded = TextModel.load(model_folder(model))
    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    if loaded.generation.turn_separator is None:
        print("This model was not trained on dialogue, so it sees only the newest line.", file=sys.stderr)
    turns: list[str] = []
    try:
        while (turn := _next_turn(lines)) is not None:
            if not turn.strip():
                continue
            turns = [*turns, turn] if loaded.generation.turn_separator is not None else [turn]
            turns.append(_reply(loaded, turns, task, options, is_verbose))
    except KeyboardInterrupt:
        pass
    except UnicodeDecodeError:
        raise UserError("stdin: is not UTF-8.") from None
    if lines.isatty():
        print()


def _next_turn(lines: TextIO) -> str | None:
    if lines.isatty():
        print(_PROMPT, end="", flush=True)
    line = lines.readline()
    return line.removesuffix("\n") if line else None


def _reply(model: TextModel, turns: list[str], task: str, options: Mapping[str, Any], is_verbose: bool) -> str:
    """Print the reply as it is decoded, and return it. It ends before the separator of turns."""
    begun, first, reply = time.monotonic(), 0.0, ""
    stop = [model.generation.turn_separator] if model.generation.turn_separator else []
    for piece in model.stream(model.prompt(turns, task), task, stop=stop, **{"cut": "start", **options}):
        first = first or time.monotonic() - begun
        print(piece.text, end="", flush=True)
        reply += piece.text
    print(flush=True)
    if is_verbose:
        print(f"first piece after {1000 * first:.0f} ms, reply after {1000 * (time.monotonic() - begun):.0f} ms", file=sys.stderr)
    return reply
