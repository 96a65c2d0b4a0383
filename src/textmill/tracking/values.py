"""Names and values in the form that MLflow takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.tracking.redaction import redacted

_PARAM_CHARACTERS = 6000  # MLflow refuses longer values


def flat_numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """All finite numbers of nested mappings as ("a.b", number); lists and texts are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)


def flat_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested params as {"train.max_steps": "2400"}; lists as JSON; cut where MLflow would refuse them."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[f"{prefix}{name}"] = redacted(text)[:_PARAM_CHARACTERS]
    return flat


def metric_name(name: str) -> str:
    """`name` with everything that MLflow does not accept in a metric's name replaced by an underscore."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)


def environment_tags(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` as tags of a run or of a version of a model."""
    return {f"environment.{name}": redacted(value) for name, value in environment.items()}
