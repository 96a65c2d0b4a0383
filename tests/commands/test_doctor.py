from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_project import MADE, RAW, RESULT, cached, change_yaml, flip, make_project

from textmill.base.command import one_line_errors
from textmill.commands import doctor
from textmill.commands.repro import GOOD_STAGE_LOCK, LOCK, keep_copies


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    return tmp_path


def empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch()


def leave(folder: str, name: str) -> Callable[[], None]:
    def killed() -> None:
        Path(folder, f".{name}.a1b2_c3d.tmp").mkdir(parents=True)
        Path(folder, f".{name}.a1b2_c3d.tmp", name).write_text("half", encoding="utf-8")

    return killed


def stop_caching() -> None:
    cached(MADE).unlink()


def add_remote() -> None:
    config = Path(".dvc/config")
    config.write_text(f"{config.read_text()}['remote \"store\"']\n    url = /store\n", encoding="utf-8")


# what is wrong: how it came, what names it, what is advised, whether a second look after --fix finds nothing
FAULTS: dict[str, tuple[Callable[[], object], str, str, bool]] = {
    "a flipped bit in the cache": (lambda: flip(cached(MADE)), f"{cached}: damaged in DVC's cache ({MADE})", "FIX=1", False),
    "an object of no bytes": (lambda: empty(cached(RESULT)), "damaged in DVC's cache", "dvc pull", False),
    "a flipped bit in an output": (lambda: flip(MADE), f"{MADE}: is not what DVC has on record for make", f"dvc checkout {MADE}", False),
    "an edited output": (lambda: RESULT.write_text("[]"), f"{RESULT}: is not what DVC has on record for use", "dvc commit -f use", False),
    "an output that only the workspace has": (
        stop_caching,
        f"{MADE}: is correct, but not in DVC's cache",
        "dvc commit -f make",
        False,
    ),
    "a killed write of ours": (leave("models/use", "model.json"), "models/use/.model.json.a1b2_c3d.tmp: left", "FIX=1", True),
    "a killed checkpoint": (leave(".checkpoints/train/0", "f.safetensors"), ".checkpoints/train/0/.f.safetensors.a1b2", "FIX=1", True),
    "a killed write of dvc.lock": (leave(".", "dvc.lock"), ".dvc.lock.a1b2_c3d.tmp: left", "FIX=1", True),
    "a killed write of DVC": (lambda: empty(Path(".dvc/cache/files/md5/ab/.X9-_k.tmp")), ".X9-_k.tmp: left", "FIX=1", True),
    "a killed checkout of DVC": (lambda: empty(Path("models/use/.X9-_k.tmp")), "models/use/.X9-_k.tmp: left", "FIX=1", True),
    "an rwlock of no bytes": (lambda: empty(LOCK), f"{LOCK}: left broken", "FIX=1", True),
    "a cut rwlock": (lambda: (empty(LOCK), LOCK.write_text('{"read": {')), f"{LOCK}: left broken", "FIX=1", True),
    "a dvc.lock of no bytes": (lambda: empty(Path("dvc.lock")), "dvc.lock: broken", "git checkout dvc.lock", False),
    "a remote that is trusted": (
        add_remote,
        "remote store: DVC does not verify data",
        "dvc remote modify store verify true",
        False,
    ),
}


def test_a_project_as_it_should_be_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(fix=False) == 0 and capsys.readouterr().out == "doctor: healthy\n"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_says_what_to_do(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, named, advised, heals = FAULTS[fault]
    named = named.replace(str(cached), str(cached(MADE)))
    make()
    assert doctor.main(fix=False) == 1
    (line,) = capsys.readouterr().out.rstrip("\n").split("\n")
    assert named in line and advised in line
    assert doctor.main(fix=True) == 1
    assert capsys.readouterr().out.startswith(line)
    assert doctor.main(fix=True) == (0 if heals else 1), "the second look"


def test_damage_that_dvc_does_not_notice_is_found_and_after_the_repair_dvc_notices_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A flipped bit in the cache, kept read-only, that a checkout has copied into the workspace."""
    flip(cached(MADE))
    MADE.unlink()
    with Repo() as repo:
        repo.checkout(str(MADE))
        assert not repo.status().get("make"), "DVC notices now: then this test shows nothing"
    assert doctor.main(fix=True) == 1
    out = capsys.readouterr().out
    assert out.count("repaired:") == 2
    with Repo() as repo:
        assert repo.status()["make"]


def test_a_flipped_bit_in_a_remote_that_is_verified_is_not_pulled(project: Path) -> None:
    config = Path(".dvc/config")
    remote = f"    remote = store\n['remote \"store\"']\n    url = {project}/store\n    verify = true\n"
    config.write_text(config.read_text(encoding="utf-8") + remote, encoding="utf-8")
    with Repo() as repo:
        repo.push(str(MADE))
    assert doctor.main(fix=False) == 0
    stored = project / "store" / cached(MADE).relative_to(".dvc/cache")
    stored.chmod(0o444)
    flip(stored)
    cached(MADE).unlink()
    MADE.unlink()
    with Repo() as repo, pytest.raises(DvcException):
        repo.pull(str(MADE))
    assert not MADE.exists()


def test_an_edit_that_was_accepted_is_healthy() -> None:
    RESULT.write_text("[]", encoding="utf-8")
    with Repo() as repo:
        repo.commit("use", force=True)
    assert doctor.main(fix=False) == 0


def test_commit_brings_an_output_into_the_cache_as_advised() -> None:
    stop_caching()
    with Repo() as repo:
        repo.commit("make", force=True)
    assert doctor.main(fix=False) == 0


def test_outputs_that_are_not_here_and_files_of_the_user_are_no_findings() -> None:
    MADE.unlink()
    leave(str(RAW), "mine")()
    (RAW / ".mine.tmp").touch()
    assert doctor.main(fix=True) == 0
    assert (RAW / ".mine.tmp").exists()


def test_a_broken_dvc_lock_becomes_what_it_was_before_the_last_rebuild() -> None:
    good = Path("dvc.lock").read_bytes()
    GOOD_STAGE_LOCK.parent.mkdir(parents=True, exist_ok=True)
    GOOD_STAGE_LOCK.write_bytes(good)
    Path("dvc.lock").write_bytes(good[: good.index(b"outs") + 2])
    assert doctor.main(fix=True) == 1
    assert Path("dvc.lock").read_bytes() == good and doctor.main(fix=False) == 0


def test_runs_of_killed_processes_are_named_and_closed_on_demand_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = ["clean", "rebuild"]
    monkeypatch.setattr("textmill.commands.doctor.runs_left_open", left.copy)
    monkeypatch.setattr("textmill.commands.doctor.close_left_open", left.clear)
    assert doctor.main(fix=False) == 1 and left
    assert doctor.main(fix=True) == 1 and not left
    assert doctor.main(fix=False) == 0
    line = "MLflow runs of killed processes are still open: clean, rebuild. `make doctor FIX=1` closes them.\n"
    assert capsys.readouterr().out == f"{line}{line}  repaired: closed as KILLED\ndoctor: healthy\n"


def test_a_dvc_yaml_that_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(SystemExit) as end, one_line_errors("doctor"):
        doctor.main(fix=False)
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("doctor: ") and "dvc.yaml" in said and said.count("\n") == 1


def test_nothing_is_judged_while_a_stage_works_here(capsys: pytest.CaptureFixture[str]) -> None:
    leave("models/use", "model.json")()
    Path("stages").mkdir()
    Path("stages/__init__.py").touch()
    Path("stages/use.py").write_text("print(flush=True); input()", encoding="utf-8")
    worker = subprocess.Popen([sys.executable, "-m", "stages.use"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None and worker.stdout.readline() == b"\n"
        assert doctor.main(fix=True) == 1
    finally:
        worker.kill()
        worker.communicate()
    assert f"process {worker.pid} is running in this folder" in capsys.readouterr().err
    assert Path("models/use/.model.json.a1b2_c3d.tmp").exists()
    assert doctor.main(fix=True) == 1 and doctor.main(fix=False) == 0


def test_an_edit_is_reported_and_copied_before_a_rebuild_replaces_it(capsys: pytest.CaptureFixture[str]) -> None:
    keep_copies()
    assert capsys.readouterr().err == ""
    MADE.write_text("[99.9]\n", encoding="utf-8")
    keep_copies()
    (line,) = capsys.readouterr().err.rstrip("\n").split("\n")
    assert str(MADE) in line and "dvc commit -f make" in line
    with Repo() as repo:
        repo.checkout(str(MADE), force=True)
    assert MADE.read_text(encoding="utf-8") == "[1, 2]\n"
    assert Path(".dvc/tmp/copies", MADE).read_text(encoding="utf-8") == "[99.9]\n"


def test_an_output_that_dvc_can_restore_is_replaced_without_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    """As after `git checkout` of another dvc.lock: nothing is lost."""
    change_yaml(Path("dvc.lock"), lambda lock: lock["stages"]["make"]["outs"][0].update(md5="0" * 32))
    keep_copies()
    assert capsys.readouterr().err == ""
