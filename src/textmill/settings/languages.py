"""The languages of a corpus, which most stages need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageSettings:
    """The part of `collect` that later stages need: the language codes."""

    source_language: str
    target_language: str

    def codes(self) -> tuple[str, str]:
        """Return the codes of source and target."""
        return self.source_language, self.target_language


def model_name(name: str, languages: LanguageSettings) -> str:
    """Return the name of the registered model: `export.name`, or one made from the languages if that is `auto`."""
    return f"textmill-{languages.source_language}-{languages.target_language}" if name == "auto" else name
