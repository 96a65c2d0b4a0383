"""Find the placeholders of a message, which a program fills in: %s, %(name)d, %1$s, %1, {}, {0}, {name!r:>10}."""

from __future__ import annotations

import re

PLACEHOLDER_PATTERN = (
    r"%\([A-Za-z_]\w*\)[-+ 0#]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa]"  # %(name)s
    r"|%\d+\$[-+ 0#]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa]"  # %1$s
    r"|%[1-9](?![\d%$])"  # %1 (Qt, KDE)
    r"|%[-+0#]*\d*(?:\.\d+)?[diouxXeEfFgGcrs](?![A-Za-z])"  # %s, but not in `100% sure` or `%start`
    r"|\{[A-Za-z_0-9.\[\]]*(?:![rsa])?(?::[^{}]*)?\}"  # {}, {0}, {name!r:>10}
)
_PLACEHOLDER = re.compile(PLACEHOLDER_PATTERN)


def placeholders(text: str) -> list[str]:
    """Return all placeholders of `text`, sorted, with repetitions. `%%` is a percent sign, not a placeholder."""
    return sorted(_PLACEHOLDER.findall(text.replace("%%", "")))
