from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from dvc_project import MADE, RAW, RESULT, change_yaml, flip, make_project, md5
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.pipeline.inputs import locked_inputs, stage_inputs


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    make_project(tmp_path)
    return tmp_path


def locked(stage: str) -> dict[str, Any]:
    return YAML(typ="safe").load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"][stage]


@pytest.mark.parametrize("stage", ["make", "use"])
def test_the_key_of_a_stage_that_runs_is_that_of_its_entry_in_dvc_lock(project: Path, stage: str) -> None:
    assert stage_inputs(stage) == locked_inputs(locked(stage))


@pytest.mark.parametrize("change", ["a file changes", "a file comes", "a file goes", "a name changes"])
def test_another_folder_gives_another_key(project: Path, change: str) -> None:
    before = stage_inputs("make").key
    if change == "a file changes":
        (RAW / "more/b.tsv").write_text("c", encoding="utf-8")
    elif change == "a file comes":
        (RAW / "c.tsv").touch()
    elif change == "a file goes":
        (RAW / "a.tsv").unlink()
    else:
        (RAW / "a.tsv").rename(RAW / "z.tsv")
    assert stage_inputs("make").key != before != locked_inputs({**locked("make"), "deps": []}).key


def test_a_flipped_bit_in_an_output_of_another_stage_stops_the_stage_that_reads_it(project: Path) -> None:
    flip(MADE)
    with pytest.raises(
        UserError, match=r"^data/make/pairs\.json: is not what dvc\.lock has on record \(MD5 \w+, not \w+\): damaged.+make doctor"
    ):
        stage_inputs("use")


def test_params_that_another_stage_wrote_are_read_and_hashed_like_its_other_outputs(project: Path) -> None:
    settings = Path("data/make/settings.json")
    settings.write_text('{"train": {"steps": 4}, "unused": 1}\n')
    out = {"path": str(settings), "hash": "md5", "md5": md5(settings)}
    change_yaml(Path("dvc.yaml"), lambda content: content["stages"]["make"]["outs"].append(str(settings)))
    change_yaml(Path("dvc.yaml"), lambda content: content["stages"]["use"].update(params=[{str(settings): ["train.steps"]}]))
    change_yaml(Path("dvc.lock"), lambda lock: lock["stages"]["make"]["outs"].append(out))
    change_yaml(Path("dvc.lock"), lambda lock: lock["stages"]["use"].update(params={str(settings): {"train.steps": 4}}))
    assert stage_inputs("use").params == {"train": {"steps": 4}}
    assert stage_inputs("use") == locked_inputs(locked("use"))
    settings.write_text('{"train": {"steps": 5}, "unused": 1}\n')
    with pytest.raises(UserError, match=r"^data/make/settings\.json: is not what dvc\.lock has on record"):
        stage_inputs("use")


@pytest.mark.parametrize("added", [RAW / "a.tsv", RAW / "more", RAW])
def test_a_flipped_bit_in_what_was_added_to_dvc_stops_the_stage_that_reads_its_folder(project: Path, added: Path) -> None:
    from dvc.repo import Repo

    with Repo() as repo:
        repo.add(str(added))
    stage_inputs("make")
    flip(next(path for path in sorted([added, *added.rglob("*")]) if path.suffix == ".tsv"), 0.0)
    with pytest.raises(UserError, match=rf"^{added}: is not what {added}\.dvc has on record .+`dvc commit -f {added}\.dvc`"):
        stage_inputs("make")


@pytest.mark.parametrize(
    "state", ["no dvc.lock", "no entry", "an edit that was accepted", "of a stage that is gone", "missing", "of another stage"]
)
def test_a_legitimate_state_is_not_stopped(project: Path, state: str) -> None:
    if state == "no dvc.lock":
        Path("dvc.lock").unlink()
    elif state == "no entry":
        change_yaml(Path("dvc.lock"), lambda lock: lock["stages"].pop("make"))
    elif state == "an edit that was accepted":
        from dvc.repo import Repo

        MADE.write_text("[1, 2, 3]\n", encoding="utf-8")
        with Repo() as repo:
            repo.commit("make", force=True)
    elif state == "of a stage that is gone":
        old = {**locked("make"), "outs": [{"path": str(MADE), "hash": "md5", "md5": "0" * 32}]}
        change_yaml(Path("dvc.lock"), lambda lock: lock["stages"].insert(0, "renamed", old))
    elif state == "missing":
        MADE.unlink()
    else:
        flip(RESULT)
    stage_inputs("use")


def test_a_dvc_lock_that_another_process_is_writing_is_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Path("dvc.lock")
    whole = lock.read_text(encoding="utf-8")
    wrong = whole.replace(locked("make")["outs"][0]["md5"], "0" * 32)
    for half in ("", whole[:90], wrong[: wrong.index("use:")], whole[: whole.index("use:") + 30], wrong):
        lock.write_text(half, encoding="utf-8")
        monkeypatch.setattr(time, "sleep", lambda seconds: lock.write_text(whole, encoding="utf-8"))
        assert stage_inputs("use") == locked_inputs(locked("use"))


def test_a_broken_dvc_lock_is_one_line(project: Path) -> None:
    Path("dvc.lock").write_text("schema: '2.0'\nstages: [\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^dvc\.yaml or dvc\.lock: [^\n]+Run `make doctor` for help\.$"):
        stage_inputs("use")


def test_a_copy_of_the_project_is_held_against_its_own_dvc_lock(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `dvc exp run --temp`, where DVC_ROOT still names the project."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("copy"))
    flip(MADE)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.chdir(copy)
    assert stage_inputs("use") == locked_inputs(locked("use"))
