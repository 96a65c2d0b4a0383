"""Spans that are copied and never translated: placeholders, markup, addresses, identifiers, longer numbers.

Each becomes one character, a slot, before the tokenizer sees the text, and comes back behind it: a small model learns
where a span goes and need not spell it (placeholder translation, Crego et al. 2016; Post et al. 2019).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from textmill.text.placeholders import PLACEHOLDER_PATTERN

# Private-use characters: cleaning removes them from the corpus, and a raw one in a later input is a span itself.
SLOTS = tuple(chr(0xE000 + number) for number in range(16))
_SLOT = re.compile(f"[{SLOTS[0]}-{SLOTS[-1]}]")
# In the default corpus the target repeats what these find character for character in 93 to 100 %; `code` and "quoted"
# words (53 to 77 %) are translated too often, so they are left to the model.
_SPAN = re.compile(
    r":[a-z]+:`[^`\n]+`"  # :class:`reStructuredText role`
    r"|</?[A-Za-z][^<>\n]*>"  # <a href="...">
    r"|(?:https?|ftp)://[A-Za-z0-9/_.~%?=&+\-#:@]*[A-Za-z0-9/_~]"
    r"|\{\{.*?\}\}|\{%.*?%\}"  # templates
    r"|(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # ASCII: in Chinese no space comes before it
    rf"|{PLACEHOLDER_PATTERN}"
    r"|(?<![A-Za-z0-9_.])[A-Za-z0-9]*_[A-Za-z0-9_]*[A-Za-z0-9](?![A-Za-z0-9_])"  # snake_case
    r"|(?<![A-Za-z0-9_.])[a-z_]+(?:\.[a-z_]{2,})+(?![A-Za-z0-9_])"  # dotted.name
    r"|(?<![A-Za-z0-9_])(?:[A-Z][a-z]+(?:[A-Z][a-z0-9]*)+|[a-z]+[A-Z][A-Za-z0-9]*)(?![A-Za-z0-9_])"  # CamelCase, camelCase
    r"|(?<![A-Za-z0-9_.])\d+(?:\.\d+)+(?![A-Za-z0-9_])|(?<![A-Za-z0-9_.])\d{2,}(?![A-Za-z0-9_])"  # 3.11, 404
    rf"|{_SLOT.pattern}"
)


class Protected(NamedTuple):
    """text: with a slot for each span. spans: what stands behind slot 0, 1, ...; equal spans share a slot."""

    text: str
    spans: tuple[str, ...]


def protect(source: str) -> Protected:
    """Put slots in place of the spans of a source; when all slots are taken, further spans stay as they are."""
    spans: dict[str, str] = {}
    raw = set(_SLOT.findall(source))  # each needs a slot of its own: left as it is, it would come back as another span

    def slot(match: re.Match[str]) -> str:
        span = match[0]
        if span not in spans and (span in raw or len(raw | spans.keys()) < len(SLOTS)):
            spans[span] = SLOTS[len(spans)]
        return spans.get(span, span)

    text = _SPAN.sub(slot, source)
    return Protected(text, tuple(spans))


def protect_target(target: str, spans: tuple[str, ...]) -> str:
    """Put the source's slots in place of its spans wherever they stand in the target, longer spans first."""
    if not spans:
        return target
    by_length = sorted(spans, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, by_length)), lambda match: SLOTS[spans.index(match[0])], target)


def protect_pairs(sources: Sequence[str], targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Both sides as the model sees them: the spans of each source in slots, there and in its target."""
    protected = [protect(source) for source in sources]
    return (
        [source.text for source in protected],
        [protect_target(target, source.spans) for source, target in zip(protected, targets, strict=True)],
    )


def restore(output: str, source: Protected) -> str:
    """Put the spans of `source` back, each at most as often as the source has it: a small model can get stuck on a slot."""
    left = Counter(_SLOT.findall(source.text))

    def span(match: re.Match[str]) -> str:
        left[match[0]] -= 1
        return source.spans[SLOTS.index(match[0])] if left[match[0]] >= 0 else ""

    return _SLOT.sub(span, output)


def keeps_slots(source: str, output: str) -> bool:
    """Does a protected output hold exactly the slots of its protected source, each as often?"""
    return Counter(_SLOT.findall(source)) == Counter(_SLOT.findall(output))
