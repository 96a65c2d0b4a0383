"""The graph up to the encoded corpus, and one training: what a changed line reruns, hostile names, and a training that is stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_pipeline import DVC, change, make_clone, run, store

from textmill.base.tables import read_table
from textmill.base.tensors import read_tensors

pytestmark = pytest.mark.slow
# The same code for all runs. The first to save finds the file `wait`, so that the signal comes between two steps, however fast the machine is.
_WAITING = """

def _save_and_wait(self, tensors, state, save=CheckpointFile.save):
    import time
    save(self, tensors, state)
    while Path("wait").exists():
        Path("saved").touch()
        time.sleep(0.05)
CheckpointFile.save = _save_and_wait
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the corpus is encoded."""
    folder = make_clone(tmp_path_factory.mktemp("clone"))
    with (folder / "src/textmill/train/checkpoints.py").open("a") as code:
        code.write(_WAITING)
    assert "encode" in stages_run(folder, "encode")
    return folder


def stages_run(clone: Path, target: str) -> set[str]:
    """Reproduce up to `target`, and say what was run."""
    done = run(clone, *DVC, "repro", target, TEXTMILL_TRACKING="off")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return set(re.findall(r"^Running stage '([^']+)'", done.stdout, re.MULTILINE))


def test_a_changed_line_of_the_corpus_reruns_only_the_stages_that_depend_on_it(clone: Path) -> None:
    raw, lock = clone / "data/raw/toy.tsv", (clone / "dvc.lock").read_bytes()
    text = raw.read_text(encoding="utf-8")
    raw.write_text(text + text.rstrip("\n").split("\n")[-1] + "\n", encoding="utf-8")  # cleaning rejects a line that is there already
    assert stages_run(clone, "encode") == {"collect", "clean", "back_translate"}, "the last has sources of its own in data/raw"
    target = read_table(clone / "data/split/development.parquet")["target"][0]
    raw.write_text(text.replace(f"\t{target}\n", f"\t{target}吧\n", 1), encoding="utf-8")
    assert stages_run(clone, "encode") == {"collect", "clean", "split", "tokenizer", "back_translate", "encode"}
    raw.write_text(text, encoding="utf-8")
    assert stages_run(clone, "encode") == set(), "what was there before comes back from the run cache"
    assert (clone / "dvc.lock").read_bytes() == lock


def test_names_and_settings_full_of_shell_are_names_and_settings(clone: Path) -> None:
    name = "a; touch PWNED & $(touch PWNED) `touch PWNED` | touch PWNED > PWNED 'b\" #.tsv"
    params = (clone / "params.yaml").read_bytes()
    shutil.copy(clone / "data/raw/toy.tsv", clone / "data/raw" / name)
    try:
        change(clone, lambda params: params["collect"]["sources"][0].update(path=f"data/raw/{name}"))
        assert "collect" in stages_run(clone, "collect")
        (clone / "params.yaml").write_bytes(params)
        done = run(clone, *DVC, "exp", "run", "-S", "tokenizer.model_type='x; touch PWNED #'", "preflight", TEXTMILL_TRACKING="off")
        assert done.returncode != 0 and "tokenizer.model_type" in done.stdout + done.stderr, done
    finally:
        (clone / "params.yaml").write_bytes(params)
        (clone / "data/raw" / name).unlink()
    assert not list(clone.rglob("PWNED*"))


def test_a_training_that_sigterm_stops_is_killed_in_mlflow_and_goes_on_to_the_same_bytes(clone: Path) -> None:
    stages_run(clone, "encode")
    (clone / "wait").touch()
    settings = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": f"{clone}:{clone / 'src'}"}
    repro = subprocess.Popen([sys.executable, "-m", "textmill", "repro"], cwd=clone, env=settings, stderr=subprocess.PIPE, text=True)
    while not (clone / "saved").exists():
        assert repro.poll() is None, repro.communicate()
        time.sleep(0.05)
    repro.send_signal(signal.SIGTERM)
    _, err = repro.communicate(timeout=3600)
    assert repro.returncode == 128 + signal.SIGTERM and "Traceback" not in err and "train@0: stopped." in err, err
    for name in ("wait", "saved"):
        (clone / name).unlink()
    (checkpoint,) = (clone / ".checkpoints/train/0").iterdir()
    assert read_tensors(checkpoint)[1]["position"]["step"] == 10
    client = store(clone)
    runs = client.search_runs([client.get_experiment_by_name("textmill").experiment_id])
    assert {each.data.tags["dvc.stage"]: each.info.status for each in runs if "dvc.stage" in each.data.tags}["train@0"] == "KILLED"
    assert {each.info.status for each in runs if each.data.tags["textmill.role"] == "rebuild"} == {"KILLED"}
    outputs = []
    for force in ([], ["-f"]):
        done = run(clone, *DVC, "repro", "-s", *force, "train@0", TEXTMILL_TRACKING="off")
        assert done.returncode == 0, done.stderr
        assert ("resuming from the checkpoint at step 10" in done.stdout) == (not force)
        outputs.append({path.name: path.read_bytes() for path in (clone / "models/train/0").iterdir() if path.is_file()})
    assert outputs[0] == outputs[1] and "model.safetensors" in outputs[0]
