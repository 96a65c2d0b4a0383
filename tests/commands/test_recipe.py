"""Recipes: short, complete, and taken over without losing what was there."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.commands import recipe
from textmill.pipeline.fold_lists import check_fold_lists
from textmill.settings.tree import check_settings

RECIPES = recipe.names()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree("recipes", tmp_path / "recipes")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def params() -> dict:  # type: ignore[type-arg]
    return dict(YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8")))


def test_the_default_is_what_the_project_comes_with() -> None:
    assert Path("recipes/default.yaml").read_bytes() == Path("params.yaml").read_bytes()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_passes_the_checks_of_preflight(name: str) -> None:
    check_settings(YAML(typ="safe").load(recipe.read_recipe(name).text))


@pytest.mark.parametrize("name", RECIPES[1:])
def test_a_recipe_is_a_short_list_of_differences(name: str) -> None:
    assert len(Path("recipes", f"{name}.yaml").read_text(encoding="utf-8").split("\n")) <= 61
    changes = YAML(typ="safe").load(Path("recipes", f"{name}.yaml").read_text(encoding="utf-8"))["params"]
    default = YAML(typ="safe").load(recipe.read_recipe("default").text)
    assert not [key for key, value in leaves(changes) if dict(leaves(default)).get(key) == value], "as in the default"


def leaves(tree: dict, prefix: str = ""):  # type: ignore[no-untyped-def, type-arg]
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_taking_a_recipe_keeps_the_old_file_and_writes_the_folds(project: Path) -> None:
    before = Path("params.yaml").read_text(encoding="utf-8")
    assert recipe.main("quick") == 0
    assert Path("params.yaml.bak").read_text(encoding="utf-8") == before
    assert params()["split"]["folds"] == [0, 1] and params()["clean"]["near_duplicates"] == 0.95
    check_fold_lists(Path("dvc.yaml").read_text(encoding="utf-8"), 2)
    assert recipe.main("default") == 0
    assert Path("params.yaml").read_text(encoding="utf-8") == before
    check_fold_lists(Path("dvc.yaml").read_text(encoding="utf-8"), 3)


def test_a_comment_on_a_value_that_has_gone_goes_with_it() -> None:
    text = recipe.read_recipe("multi30k").text
    assert "width: 128\n" in text and "1.9 M parameters" not in text
    assert "# the 0.3 of the paper is too much together with subword sampling" in text
    assert "\n\n\n" not in text and text.count("\n\n") == len(YAML(typ="safe").load(text))


def test_data_that_is_not_there_is_named_with_where_it_comes_from_and_nothing_is_written(project: Path) -> None:
    before = Path("params.yaml").read_bytes(), Path("dvc.yaml").read_bytes()
    with pytest.raises(UserError, match=r"^data/raw/multi30k/train\.jsonl\.gz: no such file \(3 are missing\)\. Put train, .+github\.com"):
        recipe.main("multi30k")
    assert (Path("params.yaml").read_bytes(), Path("dvc.yaml").read_bytes()) == before and not Path("params.yaml.bak").exists()
    Path("data/raw/multi30k").mkdir(parents=True)
    for name in ("train", "valid", "test"):
        Path(f"data/raw/multi30k/{name}.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    assert recipe.main("multi30k") == 0


def test_an_unknown_recipe_and_a_file_that_is_none_are_named(project: Path) -> None:
    with pytest.raises(UserError, match=r"^there is no recipe quik\. Known recipes: default, multi30k, quick\.$"):
        recipe.main("quik")
    Path("recipes/mine.yaml").write_text("train: {max_steps: 1}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^recipes/mine\.yaml: a recipe must have exactly the keys about, data, params\.$"):
        recipe.main("mine")
