"""tune.yaml: mistakes are reported before the first trial, and valid settings have the documented effect."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.commands.search_inputs import SearchInputs, study_name
from textmill.commands.trial_workspace import set_params
from textmill.commands.tune import overrides
from textmill.settings.tree import check_settings
from textmill.tuning.settings import read_tune
from textmill.tuning.space import Choices, Range, read_space, with_values

PARAMS = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
SEARCH = YAML(typ="safe").load(Path("tune.yaml").read_text(encoding="utf-8"))["search"]
RATE = {"train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def tune_file(folder: Path, content: Any) -> Path:
    path = folder / "tune.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    return path


def test_the_tune_file_of_the_project_is_right() -> None:
    assert read_tune(Path("tune.yaml"), PARAMS).space


def test_the_number_of_heads_can_be_searched_alone(tmp_path: Path) -> None:
    space = {"model.heads": {"choices": [4, 5, 8]}}
    assert set(read_tune(tune_file(tmp_path, {"search": SEARCH, "space": space}), PARAMS).space) == {"model.heads"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.learning_rat": {"low": 1, "high": 2}}, r"space\.train\.learning_rat: params.yaml has no such key. Did you mean train"),
        ({"train": {"low": 1, "high": 2}}, "is a section; name one of its keys, such as train.batch_tokens"),
        ({"train.learning_rate": 0.1}, "must be {low: ..., high: ...} or {choices"),
        ({"train.learning_rate": {"low": 0.1, "hihg": 1}}, "unknown key hihg. Known keys: low, high"),
        ({"train.learning_rate": {"low": "1e-3", "high": 1.0}}, "must be numbers.*write 1.0e-3"),
        ({"train.learning_rate": {"low": 0.1}}, "must be numbers"),
        ({"train.learning_rate": {"low": 0.1, "high": float("inf")}}, "must be numbers"),
        ({"train.learning_rate": {"low": 0.2, "high": 0.1}}, "low must be below high"),
        ({"train.learning_rate": {"low": 0, "high": 0.1, "log": True}}, "log: true needs low above 0 and no step"),
        ({"train.learning_rate": {"low": 0.0, "high": 0.1}}, r"0\.0 is not possible: train.learning_rate: must be above 0"),
        ({"train.warmup_steps": {"low": 100, "high": 5000}}, "5000 is not possible: train.warmup_steps: must be below max_steps"),
        ({"train.max_steps": {"low": 1000.5, "high": 2000}}, r"1000\.5 is not possible: train.max_steps must be a whole number"),
        ({"train.warmup_steps": {"low": 100, "high": 200, "step": 101}}, "step must be above 0 and at most"),
        ({"train.schedule": {"low": 1, "high": 2}}, "is 'inverse_sqrt' in params.yaml, which is not a number. Use choices"),
        ({"train.schedule": {"choices": ["cosine", "linear"]}}, "'linear' is not possible: train.schedule is 'linear'.*must be one of"),
        ({"train.schedule": {"choices": ["cosine"]}}, "a list of two or more"),
        ({"model.heads": {"choices": [4, 7]}}, "7 is not possible: model.heads: 7 does not divide width 160"),
        ({"tokenizer.vocabulary_size": {"choices": [2000, 3000]}}, "losses per token cannot be compared. Set search.per_text to true"),
        ({}, "must name at least one key"),
    ],
)
def test_a_wrong_space_is_one_line_that_says_what_to_do(tmp_path: Path, space: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_tune(tune_file(tmp_path, {"search": SEARCH, "space": space}), PARAMS)
    assert str(caught.value).startswith("tune.yaml: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trails": 3}, r"tune.yaml: unknown key search.trails. Did you mean search.trials"),
        ({"trials": 0}, "tune.yaml: search.trials: must be 1 or more"),
        ({"metric": "models/train/0/metrics.json"}, "metric: must be FILE:KEY"),
        ({"stage": "train; rm"}, "stage: must be the name of a stage"),
        ({"direction": "up"}, "must be one of: minimize, maximize"),
    ],
)
def test_a_wrong_setting_of_the_search_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_tune(tune_file(tmp_path, {"search": SEARCH | change, "space": RATE}), PARAMS)


def test_what_is_drawn_is_accepted_by_the_settings_and_comes_back_from_the_study() -> None:
    entries = RATE | {
        "train.warmup_steps": {"low": 100, "high": 600, "step": 100},
        "distill.min_chrf": {"low": 0, "high": 50},
        "split.folds": {"choices": [[0, 1, 2], [0]]},
        "clean.filters.chinese_variant": {"choices": ["any", "simplified"]},
        "seed": {"low": 0, "high": 1000},
    }
    space = read_space(entries, PARAMS, "tune.yaml")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        values = {key: dimension.suggest(trial, key) for key, dimension in space.items()}
        check_settings(with_values(PARAMS, values))
        assert values == {key: space[key].restored(stored) for key, stored in trial.params.items()}
        assert values["train.warmup_steps"] % 100 == 0 and isinstance(values["distill.min_chrf"], int)
        assert float(f"{values['train.learning_rate']:.4g}") == values["train.learning_rate"]


@pytest.mark.parametrize(
    ("dimension", "value", "is_inside"),
    [
        (Range(100, 600, False, 100, True), 300, True),
        (Range(100, 600, False, 100, True), 350, False),
        (Range(0.0, 0.3, False, 0.1, False), 0.3, True),
        (Range(1e-4, 1e-2, True, None, False), 2e-2, False),
        (Range(0, 5, False, None, True), True, False),
        (Choices([[0], [0, 1]]), [0, 1], True),
        (Choices(["a", "b"]), "c", False),
        (Choices([0, 1]), 1.0, True),
        (Choices([0.0, 1.0]), 1, True),
        (Choices([0, 1]), True, False),
    ],
)
def test_the_current_value_is_tried_only_if_it_is_inside(dimension: Range | Choices, value: Any, is_inside: bool) -> None:
    stored = dimension.stored(value)
    assert (stored is not None) is is_inside
    if is_inside:
        study = optuna.create_study()
        study.enqueue_trial({"key": stored})
        assert dimension.suggest(study.ask(), "key") == value


def test_a_study_has_another_name_with_another_direction() -> None:
    search, space = read_tune(Path("tune.yaml"), PARAMS).search, read_space(RATE, PARAMS, "tune.yaml")
    inputs = SearchInputs({"src/a.py": "0"}, ["python -m stages.train"], {"train"}, {}, set())
    names = [study_name(replace(search, **change), space, inputs, PARAMS) for change in ({}, {"trials": 99}, {"direction": "maximize"})]  # type: ignore[arg-type]
    assert names[0] == names[1] != names[2]


def test_a_trial_has_the_weights_that_it_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place, weights = tmp_path / "place", tmp_path / "models/old/model.safetensors"
    weights.parent.mkdir(parents=True)
    (place / ".dvc/tmp").mkdir(parents=True)
    for content in ("one", "two"):
        weights.write_text(content)
        set_params(place, with_values(PARAMS, {"train.init_from": "models/old"}))
        assert (place / "models/old/model.safetensors").read_text() == content
    cached = tmp_path / "cached"
    os.link(place / "models/old/model.safetensors", cached)
    weights.write_text("three")
    set_params(place, with_values(PARAMS, {"train.init_from": "models/old/model.safetensors"}))
    assert (place / "models/old/model.safetensors").read_text() == "three" and cached.read_text() == "two"


def test_values_are_written_as_hydra_reads_them(tmp_path: Path) -> None:
    values = {
        "train.learning_rate": 1e-5,
        "split.folds": [0],
        "clean.filters.chinese_variant": "any",
        "export.name": "it's 1,2: {x}",
        "tokenizer.protect_spans": False,
        "collect.sources.0.format": "tsv",
        "back_translate.sources": [{"path": "data/raw/a b.txt", "task": ""}],
    }
    path = tmp_path / "params.yaml"
    path.write_text(Path("params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    apply_overrides(path, [argument for text in overrides(values, PARAMS) for argument in shlex.split(text)[1:]])
    assert YAML(typ="safe").load(path.read_text(encoding="utf-8")) == with_values(PARAMS, values)


def test_settings_that_a_short_file_leaves_out_are_searched_and_added(tmp_path: Path) -> None:
    short = {"tasks": PARAMS["tasks"], "collect": PARAMS["collect"]}
    space = read_space(
        {"train.warmup_steps": {"low": 100, "high": 200}, "prune.fine_tune.max_steps": {"low": 300, "high": 500}}, short, "t"
    )
    assert all(isinstance(dimension, Range) and dimension.is_whole for dimension in space.values()), "warmup_steps is auto"
    values = {"train.warmup_steps": 150, "prune.fine_tune.max_steps": 400}
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(short, file)
    apply_overrides(path, [argument for text in overrides(values, short) for argument in shlex.split(text)[1:]])
    written = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert written == with_values(short, values) and written["train"] == {"warmup_steps": 150}
    check_settings(written)
