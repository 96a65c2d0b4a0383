"""The whole graph once more, in a second clone whose MLflow server is down.

Seams covered: two clones in paths of different length give the same dvc.lock; restored stages; users' mistakes; damaged and forged
outputs; the gate, with a third clone that pulls.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc_project import flip
from test_pipeline import DVC, Clone, change, lock_of, make_clone, rebuilds, run, status, store

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in a path of another length, after its first `dvc repro` with a server that is down."""
    other = make_clone(tmp_path_factory.mktemp("second") / "a-path-of-another-length")
    done = run(other, *DVC, "repro", MLFLOW_TRACKING_URI="http://127.0.0.1:9", PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "dvc repro -f -s track" in done.stdout + done.stderr
    shutil.copy(other / "dvc.lock", lock_of(other))
    return other


def test_what_was_made_while_the_server_was_down_can_be_published_later(clone: Clone) -> None:
    published = run(clone, *DVC, "repro", "-f", "-s", "track")
    assert published.returncode == 0 and "'ran': 0" in published.stdout, published.stdout + published.stderr
    (parent,) = rebuilds(clone)
    client = store(clone)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    replayed = next(each for each in children if each.data.tags.get("dvc.stage") == "train@1" and "textmill.origin" in each.data.tags)
    assert replayed.data.tags["textmill.origin"] == "restored"
    assert [point.step for point in client.get_metric_history(replayed.info.run_id, "validation_loss")] == [10, 20, 30]


@pytest.mark.parametrize(
    ("edit", "stage", "message"),
    [
        (lambda p: p["train"].update(learning_rat=1), "preflight", "unknown key train.learning_rat. Did you mean train.learning_rate?"),
        (lambda p: p["collect"]["sources"][0].update(path="data/raw/gone.tsv"), "collect", "data/raw/gone.tsv: no such file"),
        (lambda p: p["back_translate"]["sources"].append({"path": "/etc/hostname"}), "preflight", "'/etc/hostname' is outside data/raw"),
        (lambda p: p["clean"]["filters"].update(max_characters=1), "clean", "no pair of"),
        (lambda p: p["split"].update(num_folds=500), "split", "too few for split.num_folds = 500"),
        (lambda p: p["split"].update(folds=[0, 1, 2, 3], num_folds=4), "preflight", "is listed for folds [0, 1, 2], but split.folds"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_lost(
    clone: Clone, edit: Callable[[dict[str, Any]], object], stage: str, message: str
) -> None:
    params, lock = (clone / "params.yaml").read_bytes(), (clone / "dvc.lock").read_bytes()
    change(clone, edit)
    try:
        done = run(clone, *DVC, "repro", TEXTMILL_TRACKING="off")
    finally:
        (clone / "params.yaml").write_bytes(params)
        (clone / "dvc.lock").write_bytes(lock)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.split("\n") if message in line]
    assert line.startswith(f"{stage}: ")
    assert run(clone, *DVC, "checkout").returncode == 0
    assert status(clone) == set()


def test_a_flipped_bit_stops_the_stage_that_reads_it_and_the_numbers_that_git_tracks_stay(clone: Clone) -> None:
    damaged, summary = clone / "data/evaluate/baselines/metrics.json", (clone / "metrics/summary.json").read_bytes()
    flip(damaged)
    try:
        assert status(clone) == set(), "DVC notices by itself: then this test shows nothing"
        done = run(clone, *DVC, "repro", "-f", "-s", "report", TEXTMILL_TRACKING="off")
    finally:
        flip(damaged)
    assert done.returncode != 0
    assert [
        line
        for line in done.stderr.split("\n")
        if line.startswith("report: data/evaluate/baselines/metrics.json: is not what dvc.lock has on record")
    ]
    assert (clone / "metrics/summary.json").read_bytes() == summary
    assert run(clone, *DVC, "checkout").returncode == 0 and status(clone) == set()


def test_a_package_of_another_version_than_pinned_is_refused(clone: Clone) -> None:
    pins = (clone / "packages.yaml").read_text(encoding="utf-8")
    (clone / "packages.yaml").write_text(pins.replace('sentencepiece: "', 'sentencepiece: "9'), encoding="utf-8")
    try:
        done = run(clone, *DVC, "repro", "-s", "tokenizer", TEXTMILL_TRACKING="off")
    finally:
        (clone / "packages.yaml").write_text(pins, encoding="utf-8")
    assert done.returncode != 0 and "packages.yaml: sentencepiece is pinned to 9" in done.stderr
    assert run(clone, *DVC, "checkout").returncode == 0  # DVC removes the outputs of a stage before it runs


def test_the_gate_passes_what_is_reproduced_and_pushed_and_names_what_is_not(clone: Clone, tmp_path: Path) -> None:
    remote, cold = tmp_path / "remote", tmp_path / "cold"
    for command in (
        [*DVC, "remote", "add", "-d", "store", str(remote)],
        [*DVC, "config", "remote.store.verify", "true"],
        ["git", "add", "-A"],
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "reproduced"],
    ):
        assert run(clone, *command).returncode == 0, command
    gate = (sys.executable, "-m", "textmill", "gate")
    unpushed = run(clone, *gate)
    assert unpushed.returncode == 1 and "in the remote. Run `make push`" in unpushed.stdout
    assert run(clone, *DVC, "push", "--run-cache").returncode == 0
    warm = run(clone, *gate)
    assert warm.returncode == 0, warm.stdout + warm.stderr
    subprocess.run(["git", "clone", "-q", str(clone), str(cold)], check=True)
    passed = run(cold, *gate)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    change(cold, lambda params: params["evaluate"].update(bootstrap_samples=120))
    failed = run(cold, *gate)
    assert failed.returncode == 1 and "preflight: params.yaml modified" in failed.stdout
    change(cold, lambda params: params["evaluate"].update(bootstrap_samples=100))
    pulled = run(cold, *DVC, "repro", "--pull", "--allow-missing", TEXTMILL_TRACKING="off")
    assert pulled.returncode == 0, pulled.stderr[-2000:]
    assert "Running stage 'train" not in pulled.stdout
    report = run(cold, sys.executable, "-m", "textmill", "changes", "HEAD", GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert report.returncode == 0 and "## Metrics" in (tmp_path / "summary.md").read_text()


def test_a_score_that_was_written_by_hand_and_accepted_is_found_by_a_rerun(clone: Clone) -> None:
    written = clone / "data/evaluate/baselines/metrics.json"
    scores = json.loads(written.read_text(encoding="utf-8"))
    scores["copy"]["chrf"]["score"] = 99.9
    written.write_text(json.dumps(scores), encoding="utf-8")
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t")
    for command in ([*DVC, "commit", "-f"], [*git, "commit", "-qam", "a better score"]):
        assert run(clone, *command).returncode == 0, command
    try:
        assert status(clone) == set(), "DVC notices by itself: then this test shows nothing"
        proved = run(clone, sys.executable, "-m", "textmill", "gate", "--prove", "evaluate-baselines")
    finally:
        assert run(clone, *git, "reset", "-q", "--hard", "HEAD~1").returncode == 0
        assert run(clone, *DVC, "checkout").returncode == 0
    assert proved.returncode == 1, proved.stderr[-2000:]
    (line,) = [line for line in proved.stdout.split("\n") if "a rerun gives MD5" in line]
    assert line.startswith("evaluate-baselines: data/evaluate/baselines/metrics.json: ")


def test_the_log_of_a_rebuild_that_meets_escape_sequences_has_none(clone: Clone) -> None:
    toy, lock = clone / "data/raw/toy.tsv", (clone / "dvc.lock").read_bytes()
    rows = toy.read_bytes()
    try:
        toy.unlink()
        toy.write_bytes(rows + b"\x1b[31mred\x1b[0m \xff\tb\n" * 20)
        done = run(clone, *DVC, "repro", "collect", TEXTMILL_TRACKING="off")
    finally:
        toy.write_bytes(rows)
        (clone / "dvc.lock").write_bytes(lock)
    assert done.returncode != 0 and "data/raw/toy.tsv" in done.stderr
    assert "\x1b[31m" not in done.stdout + done.stderr
    assert run(clone, *DVC, "checkout").returncode == 0


def test_a_second_clone_with_its_server_down_gives_the_same_lock(clone: Clone, request: pytest.FixtureRequest) -> None:
    """The last of the file, and `first` no argument: else this worker would wait for the one that makes the first rebuild."""
    first = request.getfixturevalue("first")
    assert lock_of(clone).read_text() == lock_of(first).read_text()
