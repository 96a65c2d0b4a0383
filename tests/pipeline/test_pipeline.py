"""The whole graph, by real `dvc repro` in a fresh clone on toy data.

Seams covered: raw file to report; a second run runs nothing; what a changed setting or module reruns; the embedded store with ran
and cached stages; the registered model, which loads without torch. test_second_clone.py has the rest, so that two workers share it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, compare_path, look, mlflow_ui
from dvc.repo import Repo
from ruamel.yaml import YAML
from toy import PAIRS

from textmill.base.tables import read_table
from textmill.evaluate.scoring import evaluation_of, only_texts, score_outputs
from textmill.report.page import render_page
from textmill.report.results import read_results
from textmill.report.settings import ReportSettings
from textmill.tasks.kinds import KINDS
from textmill.tasks.settings import TaskSettings

pytestmark = pytest.mark.pipeline
DVC = [sys.executable, "-m", "dvc"]
Clone = Path
PASSWORDS = ["canary-in-a-remote-of-git", "canary-of-mlflow"]  # of what the first rebuild works with


def run(clone: Clone, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**os.environ, "PATH": path, "PYTHONPATH": f"{clone}:{clone / 'src'}", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=clone, env=settings, capture_output=True, text=True, check=False, timeout=3600)


def change(clone: Clone, edit: Callable[[dict[str, Any]], object]) -> None:
    yaml, path = YAML(), clone / "params.yaml"
    params = yaml.load(path.read_text(encoding="utf-8"))
    edit(params)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def toy_settings(params: dict[str, Any]) -> None:
    params["collect"]["sources"] = [{"format": "tsv", "path": "data/raw/toy.tsv"}]
    params["split"] |= {"similarity": 0.99, "test_share": 0.2}
    params["tokenizer"] |= {"vocabulary_size": 340, "num_threads": 1}
    params["model"] |= {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}
    for section in (params["train"], params["distill"]["train"], params["prune"]["fine_tune"]):
        section |= {"max_steps": 30, "validate_every": 10, "warmup_steps": 5, "num_threads": 1, "batch_tokens": 300}
    params["distill"] |= {"encoder_layers": 1, "decoder_layers": 1, "feed_forward": 64}
    params["prune"] |= {"encoder_heads": 1, "decoder_heads": 1}
    params["decode"] |= {"max_tokens": 20, "beam_size": 2}
    params["distill"] |= {"beam_size": 2, "num_hypotheses": 2}
    params["export"] |= {"parity_sentences": 20, "max_size_ratio": 0.6}  # scales and norms weigh more in a tiny model
    params["evaluate"]["bootstrap_samples"] = 100


def make_clone(folder: Path) -> Clone:
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if Path(name).is_file() and not name.startswith(("tests/", "metrics/")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name)
    rows = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    (folder / "data/raw/toy.tsv").write_text("source\ttarget\n" + rows, encoding="utf-8")
    change(folder, toy_settings)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    added = run(folder, *DVC, "add", "data/raw/toy.tsv")
    assert added.returncode == 0, added.stderr
    site_cache = ".dvc-site-cache/repo/.gitignore"  # ignored, but in git: so that clones of this one have the folder, and it is private
    for command in (["add", "-A"], ["add", "-f", site_cache], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "toy"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def first_rebuild(folder: Path) -> Clone:
    """A clone after its first `dvc repro`, with the embedded MLflow store."""
    make_clone(folder)
    remote = f"https://git-user:{PASSWORDS[0]}@git.example/textmill.git"
    subprocess.run(["git", "remote", "add", "origin", remote], cwd=folder, check=True)
    done = run(folder, *DVC, "repro", MLFLOW_TRACKING_USERNAME="mlflow-user", MLFLOW_TRACKING_PASSWORD=PASSWORDS[1])
    log_of(folder).write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "tracking:" not in done.stdout + done.stderr
    shutil.copy(folder / "dvc.lock", lock_of(folder))
    return folder


@pytest.fixture(scope="module")
def clone(first: Clone) -> Clone:
    """The clone in which the tests of this file work, and change things; other files read what stays as it was."""
    return first


def log_of(clone: Clone) -> Path:
    """What the first rebuild wrote to the terminal."""
    return clone / ".git/rebuild.log"


def share_cache(clone: Clone, other: Clone) -> None:
    """Let a fresh clone use the DVC cache of another, so that it runs no stage again whose inputs are the same."""
    (clone / ".dvc/config.local").write_text(f"[cache]\n    dir = {other}/.dvc/cache\n", encoding="utf-8")


def lock_of(clone: Clone) -> Path:
    """Its dvc.lock after the first rebuild."""
    return clone / ".git/first-dvc.lock"


def store(clone: Clone):  # type: ignore[no-untyped-def]
    import mlflow

    uri = f"sqlite:///{clone.resolve()}/.mlflow/mlflow.db"
    return mlflow.MlflowClient(uri, uri)


def rebuilds(clone: Clone) -> list[Any]:
    client = store(clone)
    found = client.search_runs([client.get_experiment_by_name("textmill").experiment_id], "tags.`textmill.role` = 'rebuild'")
    return sorted(found, key=lambda each: each.info.start_time)


def status(clone: Clone) -> set[str]:
    """What `dvc status` finds changed. In this process: a dozen cases would start dvc a dozen times."""
    with chdir(clone), Repo() as repo:
        return set(repo.status())


def test_every_output_is_there_and_a_second_run_runs_nothing(clone: Clone) -> None:
    for path in ("reports/report.html", "metrics/summary.json", "models/export/int8/model.bin", "models/export/README.md"):
        assert (clone / path).is_file(), path
    lock = (clone / "dvc.lock").read_bytes()
    done = run(clone, *DVC, "repro")
    assert done.returncode == 0 and "Data and pipelines are up to date." in done.stdout
    assert "Running stage" not in done.stdout
    assert (clone / "dvc.lock").read_bytes() == lock
    assert not list((clone / ".checkpoints").rglob("*.safetensors")), "checkpoints of finished trainings are removed"


def test_no_password_is_in_anything_that_a_rebuild_leaves(clone: Clone) -> None:
    """In no file of the clone but those of git itself, which has the address of its remote, and not on the terminal."""
    assert PASSWORDS[0] in (clone / ".git/config").read_text(encoding="utf-8"), "no password to find: then this test shows nothing"
    files = [path for path in clone.rglob("*") if path.is_file() and ".git" not in path.relative_to(clone).parts]
    assert {".mlflow", ".dvc", "dvc.lock", "data", "metrics", "models", "reports"} <= {path.relative_to(clone).parts[0] for path in files}
    assert not [(path, word) for path in (*files, log_of(clone)) for word in PASSWORDS if word.encode() in path.read_bytes()]


def test_the_parent_run_says_what_ran_and_holds_the_headline_numbers(clone: Clone) -> None:
    parent = rebuilds(clone)[0]
    summary = json.loads((clone / "metrics/summary.json").read_text(encoding="utf-8"))
    assert parent.info.status == "FINISHED"
    assert (parent.data.tags["stages.cached"], parent.data.tags["stages.restored"]) == ("0", "0")
    assert int(parent.data.tags["stages.ran"]) == 22
    shown = parent.data.metrics
    assert (shown["student_chrf"], shown["exported_megabytes"]) == (
        summary["systems"]["student"]["chrf"],
        summary["systems"]["exported"]["megabytes"],
    )
    assert len(shown) <= 10, "the page for a comparison shows the first few dozen only"
    assert parent.data.params["train.max_steps"] == "30" and "packages.torch" not in parent.data.params
    assert parent.data.tags["mlflow.source.name"] == "dvc repro" and parent.data.tags["mlflow.note.content"]
    assert len(parent.data.tags["git.commit"]) == 40
    client = store(clone)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    record = json.loads((clone / "metrics/environment.json").read_text(encoding="utf-8"))
    (here,) = record["environments"].values()
    assert here["OMP_NUM_THREADS"] == "1" and len(record["stages"]) == 22
    assert {child.data.tags["environment.cpu_features"] for child in children} == {here["cpu_features"]}


def test_the_registered_model_predicts_without_torch_and_honours_its_params(clone: Clone) -> None:
    (version,) = store(clone).search_model_versions("name = 'textmill-en-zh'")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import mlflow, pandas as pd\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/textmill-en-zh@newest')\n"
        "table = pd.DataFrame({'source': ['Open the file', 'Save the page']})\n"
        "print(len(model.predict(table)['target']), len(model.predict(table, params={'beam_size': 1})))\n"
        "inner = model.unwrap_python_model().model\n"
        "seen = []; inner.generate = lambda texts, task, beam_size=None: (seen.append((task, beam_size)), ['x'] * len(texts))[1]\n"
        "model.predict(table, params={'beam_size': 3, 'task': 'qa'}); print(seen)\n"
    )
    done = run(clone, sys.executable, "-c", program, f"sqlite:///{clone.resolve()}/.mlflow/mlflow.db")
    assert done.stdout == "2 2\n[('qa', 3)]\n", done.stderr[-2000:]
    assert version.tags["dvc.md5"] in (clone / "dvc.lock").read_text()
    assert version.tags["environment.python"] == platform.python_version()
    assert not [path for path in (clone / ".mlflow").rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_a_release_is_an_error_unless_the_model_is_registered(clone: Clone) -> None:
    release = (sys.executable, "-m", "textmill", "release")
    failed = run(clone, *release, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert failed.returncode == 2 and "Traceback" not in failed.stderr, failed.stderr
    assert "release: the model textmill-en-zh was not registered" in failed.stderr
    done = run(clone, *release, CI="")
    assert done.returncode == 0 and "is version 1 of textmill-en-zh" in done.stdout, done.stderr


def test_a_changed_module_reruns_only_the_stages_that_use_its_room(clone: Clone) -> None:
    stages = {name for name in run(clone, *DVC, "stage", "list", "--name-only").stdout.split("\n") if name}
    evaluations = {name for name in stages if name.startswith("evaluate")}
    trainings = {"back_translate", "train@0", "train@1", "train@2", "distill", "prune"}
    cases = {
        "src/textmill/collect/readers/tmx.py": {"collect", "back_translate"},
        "src/textmill/clean/filters.py": {"clean", "back_translate"},
        "src/textmill/split/groups.py": {"split", "back_translate"},
        "src/textmill/train/schedules.py": trainings,
        "src/textmill/decode/beam.py": {"back_translate", "distill", "export", "track"} | evaluations - {"evaluate-baselines"},
        "src/textmill/evaluate/metrics/overlap.py": evaluations | {"report"},
        "src/textmill/prune/pruning.py": {"prune"},
        "src/textmill/export/parity.py": {"export"},
        "src/textmill/report/report.html.jinja": {"report"},
        "src/textmill/report/words.toml": {"report"},
        "src/textmill/settings/tree.py": {"preflight"},
        "src/textmill/tracking/runs.py": set(),
        "src/textmill/track/publication.py": {"track"},
        "src/textmill/clean/__pycache__/compiled.cpython-311.pyc": set(),
    }
    (clone / "src/textmill/clean/__pycache__").mkdir(exist_ok=True)
    (clone / "src/textmill/clean/__pycache__/compiled.cpython-311.pyc").touch()
    for name, wanted in cases.items():
        content = (clone / name).read_bytes()
        (clone / name).write_bytes(content + b"# touched\n")
        assert status(clone) == wanted, name
        (clone / name).write_bytes(content)
    assert status(clone) == set()


def test_a_changed_export_reruns_export_and_what_follows_and_the_rest_is_linked_as_cached(clone: Clone) -> None:
    change(clone, lambda params: params["export"].update(parity_sentences=10))
    assert status(clone) == {"preflight"}, "the others take their params from its output"
    done = run(clone, *DVC, "repro")
    assert done.returncode == 0, done.stderr[-3000:]
    ran = {line.split("'")[1] for line in done.stdout.split("\n") if line.startswith("Running stage")}
    assert "export" in ran and ran <= {"preflight", "export", "evaluate-exported", "report", "track"}
    parent = rebuilds(clone)[-1]
    assert int(parent.data.tags["stages.cached"]) >= 15 and parent.data.tags["stages.restored"] == "0"
    client = store(clone)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    cached = next(each for each in children if each.data.tags.get("dvc.stage") == "train@0")
    source = client.get_run(cached.data.tags["dvc.source_run"])
    assert source.data.tags["dvc.stage"] == "train@0" and source.info.status == "FINISHED"


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=http://evil.example/x.png onerror=alert(1)>",
    "![](http://evil.example/x.png) | `x`",
    "{{ 7 * 7 }} {% for x in y %}",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "=cmd|'/C calc'!A0",
    '" onmouseover="alert(1)',
]


def test_hostile_text_in_the_report_is_text_and_loads_nothing(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    tasks = {"translate": TaskSettings("en", target_language="zh")}
    results = read_results([0, 1, 2], tasks, 10, 1)
    clean = Elements(render_page(results, tasks, ReportSettings()))
    for table in results.tasks[0].predictions.values():
        for column in ("source", "reference", "hypothesis"):
            table[column] = [HOSTILE[row % len(HOSTILE)] for row in range(len(table))]
    results.corpus["collect"]["sources"][0] |= {"origin": HOSTILE[0], "task": HOSTILE[1], "bad": {"x": {"rows": 1, "first": HOSTILE[1]}}}
    for part in results.clean_samples:
        row = {"source": "", "target": "", "clean_source": "", "clean_target": "", "origin": HOSTILE[1], "line": 1}
        results.clean_samples[part] = {HOSTILE[0]: [row | {"source": text, "clean_target": text} for text in HOSTILE]}
    page = Elements(render_page(results, tasks, ReportSettings()))
    assert set(page.tags) <= set(clean.tags) and page.tags["script"] == clean.tags["script"]
    assert page.attributes - clean.attributes <= {("td", "colspan")}, "no text has become an attribute"
    assert page.addresses == clean.addresses and all(address.startswith("speed/") for address in page.addresses)
    assert all(text in page.text or "\x1b" in text for text in HOSTILE)


class Elements(HTMLParser):
    """What a browser makes of a page. addresses: that it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[tuple[str, str]] = set()
        self.addresses: list[str | None] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "data") or (name == "href" and tag == "link")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_scores_can_be_computed_again_from_the_saved_predictions_to_the_last_digit(clone: Clone) -> None:
    summary = json.loads((clone / "metrics/summary.json").read_text(encoding="utf-8"))
    page = Elements((clone / "reports/report.html").read_text(encoding="utf-8"))
    statistics = json.loads((clone / "reports/statistics.json").read_text(encoding="utf-8"))
    of_baselines = json.loads((clone / "data/evaluate/baselines/metrics.json").read_text(encoding="utf-8"))
    outputs_of_baselines = read_table(clone / "data/evaluate/baselines/predictions.parquet")
    for system, numbers in statistics["systems"].items():
        if system in of_baselines:
            metrics, saved = of_baselines[system], outputs_of_baselines[outputs_of_baselines["system"] == system]
        else:
            folder = clone / "data/evaluate" / system
            metrics, saved = json.loads((folder / "metrics.json").read_text(encoding="utf-8")), read_table(folder / "predictions.parquet")
        test = saved.rename(columns={"reference": "target"}).reset_index(drop=True)
        evaluation = evaluation_of(test, test, {"translate": TaskSettings("en", target_language="zh")}, {}, 100, 1)
        again, predictions = score_outputs(evaluation, only_texts(saved["hypothesis"].tolist()))
        assert {name: metrics[name] for name in again} == json.loads(json.dumps(again))
        assert predictions["score"].tolist() == saved["score"].tolist()
        for metric in set(KINDS["translation"].metrics) & set(again):
            assert numbers[metric]["score"] == again[metric]["score"]
            assert f"{again[metric]['score']:.2f}" in page.text
            assert summary["systems"].get(system, {}).get(metric) in (None, round(again[metric]["score"], 2))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_ui_shows_rebuilds_side_by_side_and_the_models_with_their_scores(clone: Clone, tmp_path: Path) -> None:
    assert run(clone, *DVC, "repro", "-f", "-s", "track").returncode == 0
    first, second = rebuilds(clone)[0], rebuilds(clone)[-1]
    experiment, names = first.info.experiment_id, [each.info.run_name for each in (first, second)]
    (exported,) = store(clone).search_logged_models([experiment], "name = 'exported'")
    (version,) = store(clone).search_model_versions("name = 'textmill-en-zh'")
    assert (version.source, version.description[:1]) == (f"models:/{exported.model_id}", "#")
    pages = {
        "runs": (f"/#/experiments/{experiment}/runs?workflowType=machine_learning", names),
        "compare": (compare_path(experiment, [first.info.run_id, second.info.run_id]), ["student_chrf", "train.max_steps"]),
        "run": (f"/#/experiments/{experiment}/runs/{first.info.run_id}", ["One rebuild of the pipeline", "best_baseline_chrf"]),
        "models": (f"/#/experiments/{experiment}/models", ["exported", "student", "fold-0"]),
        "model": (f"/#/experiments/{experiment}/models/{exported.model_id}", ["test.chrf", "Ready"]),
        "version": (f"/#/models/textmill-en-zh/versions/{version.version}", ["dvc.md5", "newest"]),
    }
    with mlflow_ui(clone) as address:
        shown = look(address, pages, tmp_path)
    assert "No parameters to display" not in shown["compare"]
