"""The languages of a task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageSettings:
    """The language codes of both sides of a task."""

    source_language: str
    target_language: str

    def codes(self) -> tuple[str, str]:
        """Return the codes of source and target."""
        return self.source_language, self.target_language
