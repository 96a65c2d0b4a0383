"""The workflows of GitHub: minimal rights, pinned actions, and checks that say in one line what is not configured."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

FOLDER = Path(".github/workflows")
FILES = sorted(FOLDER.glob("*.yml"))
MAKEFILE = Path("Makefile").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_these_are_the_workflows() -> None:
    assert [path.name for path in FILES] == ["pull-request.yml", "release.yml", "tests.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_one_runs_per_branch(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "github.ref" in workflow["concurrency"]["group"]
    assert all(0 < job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    writers = {name for name, job in workflow["jobs"].items() if "permissions" in job}
    assert writers == ({"publish"} if path.stem == "release" else set())


def test_the_job_that_may_write_runs_no_code_of_the_project() -> None:
    job = read(FOLDER / "release.yml")["jobs"]["publish"]
    assert job["permissions"] == {"contents": "write"} and job["needs"] == "register"
    assert not [
        step for step in job["steps"] if re.search(r"checkout|setup-python", step.get("uses", "")) or "make " in step.get("run", "")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit_with_its_version_beside_it(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if re.search(r"\buses:", line)]
    assert lines and all(re.fullmatch(r" +- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in lines)
    pins = {line.split("uses: ")[1] for each in FILES for line in each.read_text(encoding="utf-8").split("\n") if "uses: " in line}
    assert len(pins) == len({pin.split("@")[0] for pin in pins}), "an action in two versions"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_workflow_runs_code_of_a_fork_with_rights_or_pastes_text_into_a_command(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "pull_request_target" not in text and "workflow_run" not in text
    assert not [step for step in steps(path) if "${{" in step.get("run", "")]
    checkouts = [step for step in steps(path) if "actions/checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_tests_need_no_secret_and_a_release_uses_no_cache() -> None:
    assert "secrets." not in (FOLDER / "tests.yml").read_text(encoding="utf-8")
    assert not [step for step in steps(FOLDER / "release.yml") if "cache" in step.get("with", {})]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_target_that_a_workflow_makes_exists(path: Path) -> None:
    targets = [target for step in steps(path) for target in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE)]
    assert all(re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) for target in targets)


def test_tests_run_for_pull_requests_on_every_version_of_python_from_the_lowest_one() -> None:
    workflow = read(FOLDER / "tests.yml")
    assert {"push", "pull_request"} <= set(workflow["on"]) and "if" not in workflow["jobs"]["tests"]
    lowest = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"].removeprefix(">=")
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == [lowest, "3.12", "3.13"]
    assert [step["run"] for step in steps(FOLDER / "tests.yml") if "run" in step] == ["bash .ci/run"]


def run_check(path: Path, folder: Path, remote: str, **environment: str) -> tuple[int, str, str]:
    """Run the step that asks what is configured. Returns its exit code, what it says, and what it hands to later steps."""
    found = steps(path)
    (script,) = [step["run"] for step in found if step.get("name", "").endswith("configured?")]
    assert not [step for step in found[: [step.get("run") for step in found].index(script)] if "run" in step], "something runs earlier"
    (folder / ".dvc").mkdir()
    config = re.sub(r"^\s*remote\s*=.*\n", "", Path(".dvc/config").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (folder / ".dvc/config").write_text(config.replace("[core]\n", f"[core]\n{remote}"))
    (folder / "output").touch()
    environment |= {"PATH": "/usr/bin:/bin", "GITHUB_OUTPUT": "output"}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout, (folder / "output").read_text()


def test_the_gate_is_skipped_with_a_notice_without_a_remote(tmp_path: Path) -> None:
    code, said, given = run_check(FOLDER / "pull-request.yml", tmp_path, "")
    assert code == 0 and given == "" and said.count("\n") == 1
    assert said.startswith("::notice ") and "dvc remote add -d NAME ADDRESS" in said
    gated = [step["run"] for step in steps(FOLDER / "pull-request.yml") if step.get("if") == "steps.remote.outputs.configured == 'true'"]
    assert gated == ["make gate", "make pull"]


def test_the_gate_runs_with_a_remote(tmp_path: Path) -> None:
    assert run_check(FOLDER / "pull-request.yml", tmp_path, "    remote = store\n") == (0, "", "configured=true\n")


@pytest.mark.parametrize(
    ("address", "remote", "missing"),
    [("", "    remote = store\n", "MLFLOW_TRACKING_URI"), ("https://host", "", "dvc remote add -d NAME ADDRESS")],
    ids=["no secret", "no remote"],
)
def test_a_release_fails_in_one_line_where_something_is_not_configured(address: str, remote: str, missing: str, tmp_path: Path) -> None:
    code, said, _ = run_check(FOLDER / "release.yml", tmp_path, remote, MLFLOW_TRACKING_URI=address)
    assert code == 1 and said.startswith("::error ") and missing in said and said.count("\n") == 1


def test_a_release_goes_on_where_all_is_configured(tmp_path: Path) -> None:
    assert run_check(FOLDER / "release.yml", tmp_path, "    remote = store\n", MLFLOW_TRACKING_URI="https://host") == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the options of tar are those of GNU")
def test_the_same_model_is_packed_into_the_same_bytes(tmp_path: Path) -> None:
    (script,) = [step["run"] for step in steps(FOLDER / "release.yml") if step.get("name") == "Pack the model"]
    packed = []
    for name in ("first", "second"):
        model = tmp_path / name / "models/export/int8"
        model.mkdir(parents=True)
        for file in ("model.bin", "config.json") if name == "first" else ("config.json", "model.bin"):
            (model / file).write_text(file)
        (model.parent / "README.md").write_text("card")
        subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path / name, check=True)
        subprocess.run(["sha256sum", "--check", "--quiet", "model-int8.tar.gz.sha256"], cwd=tmp_path / name / "release", check=True)
        packed.append((tmp_path / name / "release/model-int8.tar.gz").read_bytes())
    assert packed[0] == packed[1]


def test_the_forms_of_issues_and_the_updates_can_be_read() -> None:
    for path in sorted(Path(".github/ISSUE_TEMPLATE").glob("*.yml")):
        form = read(path)
        assert form["name"] and form["description"] and all(field["type"] in ("markdown", "textarea") for field in form["body"]), path
    updates = {update["package-ecosystem"]: update for update in read(Path(".github/dependabot.yml"))["updates"]}
    assert set(updates) == {"github-actions", "pip"} and updates["pip"]["open-pull-requests-limit"] == 0


def test_the_license_is_the_whole_one_that_pyproject_names() -> None:
    text = Path("LICENSE").read_text(encoding="utf-8")
    assert tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["license"] == "Apache-2.0"
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text and "END OF TERMS AND CONDITIONS" in text
    assert [int(number) for number in re.findall(r"^   (\d)\. ", text, re.MULTILINE)] == list(range(1, 10))
    assert "\n   Copyright 2026 the textmill developers\n" in text
