"""Read conversations: the source is the turns before a reply, and the target is the reply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from textmill.collect.readers.columns import json_lines
from textmill.collect.readers.files import shown
from textmill.collect.readers.row import Bad, Found, Reading, Row, Skipped

_TEXT_FIELDS = ("text", "content", "value", "utterance")
_ROLE_FIELDS = ("role", "from", "speaker")


class Turn(NamedTuple):
    """One turn of a conversation.

    role: empty if the file does not name the speaker.
    """

    text: str
    role: str


def read_conversations(reading: Reading) -> Iterator[Found]:
    """Yield one row per reply. Each line of the file is a conversation: a JSON list of turns, or an object with the list in `turns_column`.

    A turn is a text, or an object with the text in `text`, `content`, `value` or `utterance`. The optional speaker is in `role`,
    `from` or `speaker`. Every turn but the first is a reply; with `reply_role`, only turns of that role.
    """
    for number, value in json_lines(reading):
        if isinstance(value, (Bad, Skipped)):
            yield value
        else:
            yield from _replies(reading, number, value)


def _replies(reading: Reading, number: int, value: Any) -> Iterator[Found]:
    source = reading.source
    if source.group_column is not None and (not isinstance(value, dict) or source.group_column not in value):
        problem = f"field '{source.group_column}' is missing. Name another in params.yaml, collect.sources, group_column."
        yield Bad(number, "missing_field", problem)
        return
    listed = value.get(source.turns_column) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        fields = f" (fields: {', '.join(list(value)[:20])})" if isinstance(value, dict) else ""
        problem = f"has no list of turns under '{source.turns_column}'{shown(fields)}. Name another in collect.sources, turns_column."
        yield Bad(number, "no_turns", problem)
        return
    turns = [_turn(each) for each in listed]
    said = [turn for turn in turns if turn is not None]
    if len(said) < len(turns):
        yield Bad(number, "not_text", f"turn {turns.index(None) + 1} holds no text. Mend or remove the conversation.")
        return
    replies = [place for place in range(1, len(said)) if source.reply_role in (None, said[place].role)]
    if not replies:
        yield Skipped(number, "no_reply")
    for place in replies:
        context = source.turn_separator.join(turn.text for turn in said[max(place - source.context_turns, 0) : place])
        yield Row(number, context, said[place].text, _group(reading, number, value))


def _turn(value: Any) -> Turn | None:
    if isinstance(value, str):
        return Turn(value, "")
    if not isinstance(value, dict):
        return None
    text = next((value[name] for name in _TEXT_FIELDS if name in value), None)
    role = next((value[name] for name in _ROLE_FIELDS if name in value), "")
    return Turn(text, str(role)) if isinstance(text, str) else None


def _group(reading: Reading, number: int, value: Any) -> str:
    """Return the value of `group_column`, or else a name for the conversation, because its replies share their contexts."""
    column = reading.source.group_column
    return f"{reading.file.name}:{number}" if column is None or value[column] is None else str(value[column])
