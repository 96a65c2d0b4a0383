"""Protect spans that are copied and not translated: placeholders, markup, URLs, identifiers, longer numbers.

Before tokenization, each span is replaced by one character, a slot. After decoding, the span is put back. So a small model only
learns where a span goes, not how it is spelled (placeholder translation, Crego et al. 2016; Post et al. 2019).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from textmill.text.placeholders import PLACEHOLDER_PATTERN

# Private-use characters. Cleaning removes them from the corpus. If an input has one, it is treated as a span.
SLOTS = tuple(chr(0xE000 + number) for number in range(16))
_SLOT = re.compile(f"[{SLOTS[0]}-{SLOTS[-1]}]")
# In the default corpus, 93 to 100 % of these spans are repeated unchanged in the target. For `code` and "quoted" words it is 53
# to 77 %, so these are left to the model.
_SPAN = re.compile(
    r":[a-z]+:`[^`\n]+`"  # :class:`reStructuredText role`
    r"|</?[A-Za-z][^<>\n]*>"  # <a href="...">
    r"|(?:https?|ftp)://[A-Za-z0-9/_.~%?=&+\-#:@]*[A-Za-z0-9/_~]"
    r"|\{\{.*?\}\}|\{%.*?%\}"  # templates
    r"|(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # ASCII only, because Chinese has no space before an address
    rf"|{PLACEHOLDER_PATTERN}"
    r"|(?<![A-Za-z0-9_.])[A-Za-z0-9]*_[A-Za-z0-9_]*[A-Za-z0-9](?![A-Za-z0-9_])"  # snake_case
    r"|(?<![A-Za-z0-9_.])[a-z_]+(?:\.[a-z_]{2,})+(?![A-Za-z0-9_])"  # dotted.name
    r"|(?<![A-Za-z0-9_])(?:[A-Z][a-z]+(?:[A-Z][a-z0-9]*)+|[a-z]+[A-Z][A-Za-z0-9]*)(?![A-Za-z0-9_])"  # CamelCase, camelCase
    r"|(?<![A-Za-z0-9_.])\d+(?:\.\d+)+(?![A-Za-z0-9_])|(?<![A-Za-z0-9_.])\d{2,}(?![A-Za-z0-9_])"  # 3.11, 404
    rf"|{_SLOT.pattern}"
)


class Protected(NamedTuple):
    """A source with slots.

    text: the source, with a slot in place of each span. spans: the spans of slots 0, 1, ...; equal spans share a slot.
    """

    text: str
    spans: tuple[str, ...]


def protect(source: str) -> Protected:
    """Replace the spans of a source by slots. When all slots are used, further spans stay as they are."""
    spans: dict[str, str] = {}
    raw = set(_SLOT.findall(source))  # each needs its own slot: otherwise `restore` would replace it by another span

    def slot(match: re.Match[str]) -> str:
        span = match[0]
        if span not in spans and (span in raw or len(raw | spans.keys()) < len(SLOTS)):
            spans[span] = SLOTS[len(spans)]
        return spans.get(span, span)

    text = _SPAN.sub(slot, source)
    return Protected(text, tuple(spans))


def protect_target(target: str, spans: tuple[str, ...]) -> str:
    """Replace the spans of the source by its slots in the target, longer spans first."""
    if not spans:
        return target
    by_length = sorted(spans, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, by_length)), lambda match: SLOTS[spans.index(match[0])], target)


def protect_pairs(sources: Sequence[str], targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return sources and targets with the spans of each source replaced by slots on both sides."""
    protected = [protect(source) for source in sources]
    return (
        [source.text for source in protected],
        [protect_target(target, source.spans) for source, target in zip(protected, targets, strict=True)],
    )


def restore(output: str, source: Protected) -> str:
    """Put the spans of `source` back, each at most as often as in the source, because a small model can repeat a slot endlessly."""
    left = Counter(_SLOT.findall(source.text))

    def span(match: re.Match[str]) -> str:
        left[match[0]] -= 1
        return source.spans[SLOTS.index(match[0])] if left[match[0]] >= 0 else ""

    return _SLOT.sub(span, output)


def keeps_slots(source: str, output: str) -> bool:
    """Return whether an output has the same slots, equally often, as its protected source."""
    return Counter(_SLOT.findall(source)) == Counter(_SLOT.findall(output))
