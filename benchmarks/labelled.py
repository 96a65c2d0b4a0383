"""Read files of labelled defects, and convert them to the table of pairs that cleaning reads.

Fields of a row:
source, target               the pair with the defect
label                        name of the defect; `ok` means none
action                       what cleaning should do: keep, repair or drop
clean_source, clean_target   the pair before the defect was inserted
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.base.tables import PAIR_SCHEMA, write_table
from textmill.clean.plans import TaskPlan
from textmill.clean.settings import CleanSettings
from textmill.settings.schema import build
from textmill.tasks.languages import LanguageSettings


def read_rows(path: Path, fields: tuple[str, ...] = ("source", "target")) -> list[dict[str, Any]]:
    """Read a file with one JSON object per line, gzipped or not. Raises UserError for an invalid line or a missing field."""
    rows = []
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line)
                missing = [field for field in fields if field not in row]
                if missing:
                    raise UserError(f"{path}:{number}: field {missing[0]!r} is missing. It needs: {', '.join(fields)}.")
                rows.append(row)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: line {len(rows) + 1} cannot be read ({error}). It must contain one JSON object per line.") from None
    if not rows:
        raise UserError(f"{path}: is empty.")
    return rows


def write_pairs(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the pairs in the format of the stage collect. `line` k is row k of the file."""
    count = len(rows)
    columns = {
        "id": [f"0-{number}" for number in range(count)],
        "source": [row["source"] for row in rows],
        "target": [row["target"] for row in rows],
        "group": [""] * count,
        "origin": ["labelled"] * count,
        "line": list(range(1, count + 1)),
        "task": [""] * count,
        "weight": [1.0] * count,
        "official_split": [""] * count,
    }
    write_table(path, pd.DataFrame(columns), PAIR_SCHEMA)


def read_settings() -> CleanSettings:
    """Read the section clean of params.yaml."""
    params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    return build(CleanSettings, params["clean"], "clean")


def plans_of_pair(pair: str) -> dict[str, TaskPlan]:
    """Return the plan for pairs of these languages, with the settings of params.yaml."""
    return {"": TaskPlan(read_settings(), languages_of(pair))}


def languages_of(pair: str) -> LanguageSettings:
    """Convert a pair such as en-zh to language settings."""
    codes = pair.split("-")
    if len(codes) != 2 or not all(codes):
        raise UserError(f"--pair {pair}: must be two language codes joined by a hyphen, such as en-zh.")
    return LanguageSettings(*codes)
