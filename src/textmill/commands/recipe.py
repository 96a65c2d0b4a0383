"""Recipes: ready-made settings, each stored as the differences from the default settings.

A recipe is a file recipes/NAME.yaml with three keys:

- `about`: one line that describes it
- `data`: where to get its files; empty if `collect` downloads them
- `params`: the differences from recipes/default.yaml, with a reason for each number
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.base.files import write_text
from textmill.commands.folds import with_folds
from textmill.settings.params_file import params_text
from textmill.settings.tree import check_settings

HOME = Path("recipes")
DEFAULT = "default"
_PARAMS, _BACKUP, _PIPELINE = Path("params.yaml"), Path("params.yaml.bak"), Path("dvc.yaml")
_KEYS = {"about", "data", "params"}


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    about: one line that describes it.
    data: where to get the files.
    text: the complete params.yaml.
    """

    about: str
    data: str
    text: str


def main(name: str | None) -> int:
    """Write params.yaml and the folds in dvc.yaml. Without a name, list the recipes.

    Raises UserError, before anything is written, if the recipe is unknown or invalid, or if files are missing.
    """
    if name is None:
        for each in names():
            print(f"{each:12} {read_recipe(each).about}")
        return 0
    if name not in names():
        raise UserError(f"there is no recipe {name}. Known recipes: {', '.join(names())}.")
    found = read_recipe(name)
    params = YAML(typ="safe").load(found.text)
    check_settings(params)
    if missing := list(_missing(params)):
        raise UserError(f"{missing[0]}: no such file{f' ({len(missing)} are missing)' if len(missing) > 1 else ''}. {found.data}")
    before = _PARAMS.read_text(encoding="utf-8") if _PARAMS.is_file() else ""
    if before and before != found.text:
        write_text(_BACKUP, before)
    write_text(_PARAMS, found.text)
    write_text(_PIPELINE, with_folds(_PIPELINE.read_text(encoding="utf-8"), params["split"]["folds"]))
    print(f"params.yaml is now the recipe {name}" + (f"; the old file is {_BACKUP}." if before and before != found.text else "."))
    print("Next: textmill repro")
    return 0


def names() -> list[str]:
    """Return the names of all recipes, the default first."""
    return [DEFAULT, *sorted(path.stem for path in HOME.glob("*.yaml") if path.stem != DEFAULT)]


def read_recipe(name: str) -> Recipe:
    """Read a recipe by name. Raises UserError if the file is not a recipe."""
    yaml = _round_trip()
    params = yaml.load(params_text(HOME / f"{DEFAULT}.yaml"))
    if name == DEFAULT:
        return Recipe(
            "English to Chinese software messages, from the wheels of well-known packages", "", params_text(HOME / f"{DEFAULT}.yaml")
        )
    path = HOME / f"{name}.yaml"
    recipe = yaml.load(params_text(path))
    if not isinstance(recipe, Mapping) or set(recipe) != _KEYS:
        raise UserError(f"{path}: a recipe must have exactly the keys {', '.join(sorted(_KEYS))}.")
    params.yaml_set_start_comment(f"The recipe {name}: {recipe['about']}")
    _take_over(params, recipe["params"])
    written = io.StringIO()
    yaml.dump(params, written)
    return Recipe(str(recipe["about"]), str(recipe["data"]), _spaced(written.getvalue()))


def _take_over(params: Any, changes: Any) -> None:
    """Copy values together with their comments. The comment on a replaced value is removed, because it no longer applies."""
    for key, value in changes.items():
        if isinstance(value, MutableMapping) and isinstance(params.get(key), MutableMapping):
            _take_over(params[key], value)
            continue
        params[key] = value
        params.ca.items.pop(key, None)
        if key in changes.ca.items:
            params.ca.items[key] = changes.ca.items[key]


def _spaced(text: str) -> str:
    """Put one empty line before each section, and remove all others: those of the default may now be in the middle of a section."""
    lines = [line for line in text.split("\n") if line.strip()]
    return "\n".join(f"\n{line}" if line[0] not in " #-" and number else line for number, line in enumerate(lines)) + "\n"


def _missing(params: Any) -> Iterator[str]:
    for source in params["collect"]["sources"]:
        for path in (source.get("path"), source.get("target_path")):
            if path and "wheel" not in source and not Path(path).is_file() and not any(Path().glob(path)):
                yield path


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
