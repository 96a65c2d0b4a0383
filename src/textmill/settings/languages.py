"""The languages of a corpus, which most stages need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageSettings:
    """The part of `collect` that later stages need: two-letter language codes."""

    source_language: str
    target_language: str

    def codes(self) -> tuple[str, str]:
        """Of source and target."""
        return self.source_language, self.target_language
