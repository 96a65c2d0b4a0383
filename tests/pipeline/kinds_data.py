"""A tiny data set for each kind of task, written for the tests."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

_PEOPLE = ["Anna", "Boris", "Carla", "David", "Emma", "Felix", "Greta", "Hugo"]
_VERBS = ["opens", "paints", "sells", "repairs", "hides", "counts"]
_THINGS = ["the door", "a boat", "the bell", "old coins", "a lamp", "the clock", "two chairs", "a kite"]
_PLACES = ["in Rome", "at home", "near the lake", "behind the mill", "on the roof", "by the sea"]
_GOOD = ["wonderful", "lovely", "great", "charming", "bright", "superb"]
_BAD = ["dreadful", "boring", "awful", "clumsy", "dull", "poor"]
_SUBJECTS = ["film", "book", "song", "meal", "play", "hotel", "garden", "story"]
_LINES = ["春风吹柳", "明月照山", "秋水连天", "孤舟过江", "白云出岭", "寒雨入夜"]

Row = dict[str, Any]


def rows() -> dict[str, list[Row]]:
    """Rows of every kind, under the name of the task."""
    sentences = list(itertools.product(_PEOPLE, _VERBS, _THINGS))
    translate = [{"source": f"{who} {does} {what}", "target": f"{what} {who} {does}".upper()} for who, does, what in sentences[::5]]
    answer, summarize, chat = [], [], []
    for number, (who, does, what) in enumerate(sentences[1::5]):
        where, other = _PLACES[number % 6], _PEOPLE[(number + 3) % 8]
        context = f"{who} {does} {what} {where}. {other} waits outside."
        answer.append({"source": f"question: Who {does} {what}? context: {context}", "target": who})
        summarize.append(
            {"source": f"{context} It is a long day, number {number}, and nobody complains.", "target": f"{who} {does} {what}"}
        )
        chat.append({"turns": [f"Who {does} {what}?", f"{who}, {where}.", f"Why {where}?", f"Because {other} waits there."]})
    label = [
        {"source": f"What a {word} {subject}, said {who}", "target": mood}
        for mood, words in (("good", _GOOD), ("bad", _BAD))
        for (word, subject), who in zip(itertools.product(words, _SUBJECTS), itertools.cycle(_PEOPLE), strict=False)
    ]
    poem = [
        {"source": f"四言｜{number}", "target": f"{first}，{second}。\n{third}，{fourth}。"}
        for number, (first, second, third, fourth) in enumerate(itertools.islice(itertools.permutations(_LINES, 4), 0, None, 4))
    ]
    return {"translate": translate, "answer": answer, "summarize": summarize, "chat": chat, "label": label, "write": poem}


KINDS = {
    "translate": {
        "kind": "translation",
        "source_language": "en",
        "target_language": "de",
        "clean": {"filters": {"misaligned": 0, "truncated": 0}},
    },
    "answer": {"kind": "question_answering", "source_language": "en"},
    "summarize": {"kind": "summarization", "source_language": "en"},
    "chat": {"kind": "dialogue", "source_language": "en"},
    "label": {"kind": "classification", "source_language": "en"},
    "write": {"kind": "generation", "source_language": "zh"},
}


def write_rows(folder: Path) -> list[dict[str, Any]]:
    """Write every eighth row to FOLDER/NAME-test.jsonl and the others to NAME-train.jsonl. Returns the entries of collect.sources.

    Two rows of the published test set of `label` have what cleaning would change and drop.
    """
    sources = []
    for name, every in rows().items():
        parts = {"test": every[::8], "train": [row for place, row in enumerate(every) if place % 8]}
        if name == "label":
            parts["test"] = [*parts["test"], {"source": "What  a  dull play ", "target": "bad"}, {"source": "\ufffd", "target": "good"}]
        for part, chosen in parts.items():
            path = folder / f"{name}-{part}.jsonl"
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8")
            entry = {"format": "conversations", "context_turns": 3} if name == "chat" else {"format": "jsonl"}
            sources.append({**entry, "path": f"data/raw/{path.name}", "task": name, "official_split": part})
    return sources
