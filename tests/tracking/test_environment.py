from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.tracking.environment import VARIABLES, differences, environment, record_environment, recorded_environment, say_if_new

HERE = {"python": "3.11.7", "cpu_features": "avx avx2 fma", "OMP_NUM_THREADS": "2"}
THERE = {"python": "3.12.1", "cpu_features": "amx_bf16 avx avx2"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_environment_names_python_torch_and_the_processor() -> None:
    assert {"python", "torch", "machine"} <= environment().keys()


@pytest.mark.parametrize("variable", ["ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS", "CT2_FORCE_CPU_ISA"])
def test_a_variable_that_changes_arithmetic_makes_another_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    before = environment()
    monkeypatch.setenv(variable, "7")
    assert variable in VARIABLES and differences(before, environment()) == [f"{variable} none, here 7"]


def test_a_difference_is_said_with_both_values_and_of_features_only_what_one_side_lacks() -> None:
    assert differences(THERE, HERE) == ["OMP_NUM_THREADS none, here 2", "cpu_features amx_bf16, here fma", "python 3.12.1, here 3.11.7"]
    assert differences(HERE, HERE) == []


def test_the_first_stage_in_a_new_environment_says_so_and_no_later_one(capsys: pytest.CaptureFixture[str]) -> None:
    say_if_new("clean", HERE)
    assert capsys.readouterr().err == "", "nothing is recorded yet"
    for stage in ("clean", "split", "train@0"):
        record_environment(stage, THERE)
    say_if_new("clean", THERE)
    assert capsys.readouterr().err == ""
    say_if_new("clean", HERE)
    (line,) = capsys.readouterr().err.rstrip("\n").split("\n")
    assert line.startswith("clean: metrics/environment.json") and "python 3.12.1, here 3.11.7" in line
    record_environment("clean", HERE)
    say_if_new("split", HERE)
    assert capsys.readouterr().err == ""


def test_the_record_says_for_every_stage_where_it_ran_last_and_forgets_environments_without_a_stage() -> None:
    for stage, made in (("clean", THERE), ("train@0", THERE), ("clean", HERE)):
        record_environment(stage, made)
    assert (recorded_environment("clean"), recorded_environment("train@0"), recorded_environment("new")) == (HERE, THERE, {})
    record_environment("train@0", HERE)
    record = json.loads(paths.ENVIRONMENT.read_text(encoding="utf-8"))
    assert list(record["environments"].values()) == [HERE]


def test_the_same_environment_again_leaves_the_record_untouched() -> None:
    record_environment("clean", HERE)
    before = paths.ENVIRONMENT.stat().st_ino
    record_environment("clean", HERE)
    assert paths.ENVIRONMENT.stat().st_ino == before


def test_stages_that_end_side_by_side_are_all_recorded() -> None:
    names = [f"train@{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: record_environment(name, HERE), names))
    assert {name: recorded_environment(name) for name in names} == dict.fromkeys(names, HERE)


@pytest.mark.parametrize("content", ["<<<<<<< HEAD\n{}", "[]", '{"stages": {}}'])
def test_a_record_that_cannot_be_read_is_named_before_the_stage_starts(content: str) -> None:
    paths.ENVIRONMENT.parent.mkdir()
    paths.ENVIRONMENT.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics/environment\.json"):
        say_if_new("clean", HERE)
