"""Section report of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReportSettings:
    """language: of the report page's own words; the corpus keeps its languages. Every language has a table in src/textmill/report/words.toml."""

    language: Literal["en", "zh"] = "en"
