"""What the tests of cleaning share: the settings of params.yaml, tables of pairs, and a run from pairs to outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from ruamel.yaml import YAML

from textmill.base.files import read_json
from textmill.base.tables import PAIR_SCHEMA, read_table, write_table
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.language import language_reasons
from textmill.clean.plans import TaskPlan
from textmill.clean.repairs import Pair
from textmill.clean.settings import CleanSettings, FilterSettings, PrivacySettings, RepairSettings
from textmill.settings.schema import build
from textmill.tasks.languages import LanguageSettings

CLEAN = build(CleanSettings, YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["clean"], "clean")
EN_ZH = LanguageSettings("en", "zh")
EVERYTHING_OFF = replace(
    CLEAN,
    repairs=RepairSettings(**dict.fromkeys(RepairSettings.__dataclass_fields__, False)),
    filters=FilterSettings(
        **{
            **dict.fromkeys(FilterSettings.__dataclass_fields__, 0),  # type: ignore[arg-type]
            "wide_character_weight": 1.0,
            "chinese_variant": "any",
        }
    ),
    privacy=PrivacySettings(**dict.fromkeys(PrivacySettings.__dataclass_fields__, "keep")),  # type: ignore[arg-type]
    duplicates="none",
    near_duplicates=0.0,
)


def filters(**changes: Any) -> CleanSettings:
    """Return the default settings with other filter settings."""
    return replace(CLEAN, filters=replace(CLEAN.filters, **changes))


def frame(pairs: list[tuple[str, str]], **columns: Any) -> pd.DataFrame:
    """Pairs as collect writes them."""
    rows = [(f"0-{number}", source, target, "", "file", number + 1, "", 1.0, "") for number, (source, target) in enumerate(pairs)]
    return pd.DataFrame(rows, columns=PAIR_SCHEMA.names).assign(**columns)


class Cleaned(NamedTuple):
    """Output files and result of clean_corpus."""

    kept: pd.DataFrame
    rejected: pd.DataFrame
    metrics: dict[str, Any]
    samples: dict[str, Any]
    bytes: tuple[bytes, ...]


def cleaned(rows: pd.DataFrame, folder: Path, settings: CleanSettings = CLEAN, languages: LanguageSettings = EN_ZH) -> Cleaned:
    """Run the complete cleaning."""
    outputs = Outputs(folder / "kept.parquet", folder / "rejected.parquet", folder / "samples.json")
    write_table(folder / "pairs.parquet", rows, PAIR_SCHEMA)
    metrics = clean_corpus(folder / "pairs.parquet", outputs, settings, {"": TaskPlan(settings, languages)})
    written = tuple(path.read_bytes() for path in outputs)
    return Cleaned(read_table(outputs.kept), read_table(outputs.rejected), metrics, read_json(outputs.samples), written)


def language_reason(source: str, target: str, languages: LanguageSettings, settings: FilterSettings = CLEAN.filters) -> str:
    """Return the result of the language check for one pair."""
    return language_reasons([Pair(source, target)], settings, languages)[0][0]
