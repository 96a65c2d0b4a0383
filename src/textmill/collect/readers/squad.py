"""Read question-answering data in the format of SQuAD (Rajpurkar et al. 2016, 2018), which CMRC, DRCD and others also use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from textmill.base.errors import UserError
from textmill.collect.readers.files import read_whole, shown, whole_text
from textmill.collect.readers.row import Bad, Found, Reading, Row, Skipped


def read_squad(reading: Reading) -> Iterator[Found]:
    """Yield `question: ... context: ...` with the answer; the line is the number of the question in the file.

    If there are several answers, the first is used. The target of a question without an answer is `no_answer`; if that is empty,
    the question is skipped. Questions on the same context are one group.
    Raises UserError if the file is not in this format.
    """
    try:
        content = json.loads(whole_text(reading.file, read_whole(reading.file)))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{reading.file.name}: not JSON ({shown(error)}). Download it again; for one object per line, use format jsonl."
        ) from None
    number = 0
    for article in _listed(reading, content, "data"):
        for paragraph in _listed(reading, article, "paragraphs"):
            for question in _listed(reading, paragraph, "qas"):
                number += 1
                yield _row(reading, number, paragraph, question)


def _row(reading: Reading, number: int, paragraph: dict[str, Any], question: Any) -> Found:
    context = paragraph.get("context")
    asked = question.get("question") if isinstance(question, dict) else None
    if not isinstance(context, str) or not isinstance(asked, str):
        return Bad(number, "missing_field", "has no text under 'question', or its paragraph none under 'context'. Mend the file.")
    answers = question.get("answers")
    if not isinstance(answers, list):
        return Bad(number, "missing_field", "has no list of 'answers'. Mend the file.")
    if not answers and not reading.source.no_answer:
        return Skipped(number, "no_answer")
    answer = answers[0].get("text") if answers and isinstance(answers[0], dict) else None
    # Lone surrogates are rejected later, in collect/sources.py, but a group needs a name here.
    group = hashlib.sha256(context.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Row(number, f"question: {asked} context: {context}", answer if answers else reading.source.no_answer, group)


def _listed(reading: Reading, value: Any, field: str) -> list[Any]:
    listed = value.get(field) if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise UserError(
            f"{reading.file.name}: not in the format of SQuAD (data, paragraphs, qas): a list '{field}' is missing."
            " Use format jsonl for other files."
        )
    return listed
