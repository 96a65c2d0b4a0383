"""The whole pipeline, once, with one model of all kinds of task, and of a kind that is not textmill's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kinds_data import KINDS, rows, write_rows
from test_pipeline import DVC, Clone, change, make_clone, run

from textmill.base.tables import read_table
from textmill.serving.text_model import TextModel

pytestmark = pytest.mark.pipeline

# What a user adds for a new kind: a file, and its name in kinds.py.
SHOUTING = '''"""Shouting: the target is the source in capitals."""

from textmill.tasks.kind import TaskKind

SHOUTING = TaskKind(
    name="shouting",
    metrics=("exact_match", "chrf"),
    compared=("exact_match",),
    baselines=("copy", "majority"),
    filters_off=frozenset({"copy", "scripts", "language_confidence"}),
)
'''


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = make_clone(tmp_path_factory.mktemp("kinds") / "clone")
    sources = write_rows(folder / "data/raw")
    shouted = [f"please {row['source'].lower()}" for row in rows()["translate"][:40]]
    for part, chosen in (("train", shouted[5:]), ("test", shouted[:5])):
        lines = "".join(f"{text}\t{text.upper()}\n" for text in chosen)
        (folder / f"data/raw/shout-{part}.tsv").write_text("source\ttarget\n" + lines, encoding="utf-8")
        sources.append({"format": "tsv", "path": f"data/raw/shout-{part}.tsv", "task": "shout", "official_split": part})
    (folder / "src/textmill/tasks/shouting.py").write_text(SHOUTING, encoding="utf-8")
    table = (folder / "src/textmill/tasks/kinds.py").read_text(encoding="utf-8")
    table = table.replace("import SUMMARIZATION", "import SUMMARIZATION\nfrom textmill.tasks.shouting import SHOUTING")
    (folder / "src/textmill/tasks/kinds.py").write_text(table.replace("(TRANSLATION, ", "(SHOUTING, TRANSLATION, "), encoding="utf-8")

    def settings(params: dict[str, Any]) -> None:
        params["tasks"] = {**KINDS, "shout": {"kind": "shouting", "source_language": "en"}}
        params["collect"]["sources"] = sources
        params["split"] |= {"folds": [0, 1], "num_folds": 2}
        params["tokenizer"]["vocabulary_size"] = "auto"
        params["encode"] = {"max_tokens": 60, "max_source_tokens": 50}
        params["decode"] |= {"max_source_tokens": 50}

    change(folder, settings)
    for command in ([*DVC, "add", "--glob", "data/raw/*.jsonl", "data/raw/shout-*.tsv"], ["textmill", "folds"], [*DVC, "repro"]):
        done = run(folder, *command, TEXTMILL_TRACKING="off")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_published_test_sets_are_whole_and_unchanged(clone: Clone) -> None:
    test = read_table(clone / "data/split/test.parquet")
    for name, every in rows().items():
        if name == "chat":
            continue  # a row per reply
        wanted = [(row["source"], row["target"]) for row in every[::8]]
        wanted += [("What  a  dull play ", "bad"), ("\ufffd", "good")] if name == "label" else []
        own = test[test["task"] == name]
        assert sorted(zip(own["source"], own["target"], strict=True)) == sorted(wanted), name
    counts = json.loads((clone / "data/clean/metrics.json").read_text(encoding="utf-8"))["official_test"]
    assert counts["rows"] == len(test) and counts["changed"] >= 1 and counts["rejected: damaged"] == 1


@pytest.mark.parametrize("system", ["fold-0", "ensemble", "student", "exported"])
def test_each_task_is_scored_by_the_metrics_of_its_kind(clone: Clone, system: str) -> None:
    scores = json.loads((clone / f"data/evaluate/{system}/metrics.json").read_text(encoding="utf-8"))["tasks"]
    first = {
        "translate": "chrf",
        "answer": "f1",
        "summarize": "rouge_l",
        "chat": "chrf",
        "label": "accuracy",
        "write": "bits_per_byte",
        "shout": "exact_match",
    }
    assert set(scores) == set(first)
    for name, metric in first.items():
        assert scores[name][metric]["low"] <= scores[name][metric]["high"], name
        assert "accuracy" not in scores[name] or name == "label"
    predictions = read_table(clone / f"data/evaluate/{system}/predictions.parquet")
    labels = predictions[predictions["task"] == "label"]
    assert set(labels["hypothesis"]) <= {"good", "bad"}
    for hypothesis, (bad, good) in zip(labels["hypothesis"], labels["probabilities"], strict=True):
        assert bad + good == pytest.approx(1.0) and hypothesis == ("good" if good > bad else "bad")


def test_the_baselines_of_each_kind_and_the_sections_of_the_report_are_there(clone: Clone) -> None:
    baselines = json.loads((clone / "data/evaluate/baselines/metrics.json").read_text(encoding="utf-8"))
    assert set(baselines["linear"]["tasks"]) == {"label"} and baselines["linear"]["tasks"]["label"]["accuracy"]["score"] > 80
    assert set(baselines["copy"]["tasks"]) == {"translate", "shout"} and set(baselines["lead_1"]["tasks"]) == {"summarize"}
    page = (clone / "reports/report.html").read_text(encoding="utf-8")
    for name in KINDS:
        assert f"{name}: " in page
    assert page.count('<table class="confusion">') == 1 and "label: Labels" in page
    summary = json.loads((clone / "metrics/summary.json").read_text(encoding="utf-8"))["tasks"]
    assert summary["label"]["metric"] == "accuracy" and set(summary["label"]["best_baseline"]) == {"accuracy"}
    assert summary["write"]["best_baseline"] == {} and summary["write"]["systems"]["exported"]["bits_per_byte"] > 0


def test_the_student_learned_label_probabilities_and_no_poem_was_decoded(clone: Clone) -> None:
    counts = json.loads((clone / "models/distill/metrics.json").read_text(encoding="utf-8"))
    development = read_table(clone / "data/split/development.parquet")
    labels, poems = (int((development["task"] == name).sum()) for name in ("label", "write"))
    assert labels <= counts["soft_labels"] <= 2 * labels
    assert counts["distilled"] + counts["not_distilled"] + counts["equal_to_reference"] <= counts["originals"] - labels - poems


def test_the_exported_model_does_what_each_kind_needs(clone: Clone) -> None:
    model = TextModel.load(clone / "models/export/int8")
    assert model.tasks == sorted([*KINDS, "shout"])
    (found,) = model.classify(["What a lovely film"], task="label")
    assert set(found.probabilities) == {"good", "bad"} and sum(found.probabilities.values()) == pytest.approx(1.0)
    assert model.generate(["What a lovely film"], task="label") == [found.label]
    first, again, other = (model.generate(["四言｜1"], task="write", seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other, "a poem is sampled"
    turns = [f"Number {number}: who opens the door near the lake?" for number in range(12)]
    prompt = model.prompt(turns, task="chat")
    assert prompt.endswith(turns[-1]) and not prompt.startswith(turns[0]) and " ⏎ " in prompt
    pieces = list(model.stream(prompt, task="chat"))
    assert pieces[-1].reason in ("end", "length")


def test_a_new_file_is_scored_as_the_test_set_was(clone: Clone) -> None:
    shown = run(clone, "textmill", "evaluate", "models/export/int8", "data/raw/label-test.jsonl", "--task", "label", "--json")
    assert shown.returncode == 0, shown.stderr
    scores = json.loads((clone / "data/evaluate/exported/metrics.json").read_text(encoding="utf-8"))["tasks"]["label"]
    again = json.loads(shown.stdout)
    assert [again[name]["score"] for name in ("accuracy", "brier")] == pytest.approx(
        [scores[name]["score"] for name in ("accuracy", "brier")]
    )
    table = run(clone, "textmill", "evaluate", "models/export/int8", "data/raw/answer-test.jsonl", "--task", "answer")
    assert table.returncode == 0 and table.stdout.split("\n")[1].startswith("f1 ")
    for arguments, message in (
        (["data/raw/answer-test.jsonl"], "this model has several tasks: answer, "),
        (["data/raw/none.jsonl", "--task", "answer"], "data/raw/none.jsonl: no such file"),
        (["README.md", "--task", "answer"], "README.md: the name must end in one of .jsonl, .csv"),
        (["data/raw/answer-test.jsonl", "--task", "answer", "--columns", "question", "target"], "question"),
    ):
        wrong = run(clone, "textmill", "evaluate", "models/export/int8", *arguments)
        assert wrong.returncode == 2 and message in wrong.stderr and wrong.stderr.count("\n") == 1, wrong.stderr


def test_a_second_run_does_nothing(clone: Clone) -> None:
    done = run(clone, *DVC, "status", TEXTMILL_TRACKING="off")
    assert done.returncode == 0 and "up to date" in done.stdout, done.stdout
    assert Path(clone / "data/split/labels.json").read_text(encoding="utf-8").count("good") == 1
