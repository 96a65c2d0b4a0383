from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pandas as pd
import pytest
from toy import PAIRS

from textmill.evaluate.scoring import evaluation_of, only_texts, score_outputs
from textmill.report.results import Results, task_results
from textmill.tasks.settings import TaskSettings

SAMPLES = 100
TASK = TaskSettings("en", target_language="zh")


def rows_of_test(rows: int) -> pd.DataFrame:
    sources, targets = zip(*PAIRS[:rows], strict=True)
    names = {"source": sources, "target": targets, "origin": [f"app-{row % 3}.0/django.po" for row in range(rows)]}
    return pd.DataFrame({"id": [str(row) for row in range(rows)], **names, "line": range(rows), "task": ""})


def outputs(system: str, test: pd.DataFrame, is_good: bool) -> list[str]:
    """Of a good system nearly the reference; a baseline knows nothing but the source."""
    if system in TASK.special.baselines or not is_good:
        return list(test["source"])
    return [target if row % 3 else target[:-1] for row, target in enumerate(test["target"])]


@cache
def cached_results(rows: int = 90, folds: int = 3, is_good: bool = True) -> Results:
    """What the stages of a small job would have written."""
    test = rows_of_test(rows)
    names = [*(f"fold-{fold}" for fold in range(folds)), "ensemble", "student", "pruned", "exported"]
    evaluation = evaluation_of(test, test, {"translate": TASK}, {}, SAMPLES, 1)
    every = [*names, *TASK.special.baselines]
    scored = {name: score_outputs(evaluation, only_texts(outputs(name, test, is_good))) for name in every}
    systems, predictions = {name: each[0] for name, each in scored.items()}, {name: each[1] for name, each in scored.items()}
    for name in names:
        systems[name] |= {"size_bytes": 7_700_000, "parameters": 1_900_000, "perplexity": 12.5}
    sample = {"source": "a", "target": "b", "clean_source": "c", "clean_target": "d", "origin": "x.tsv", "line": 1}
    history: list[dict[str, float | None]] = [
        {"step": 10.0 * step, "train_loss": 6 - step, "validation_loss": 5.5 - step} for step in (1, 2)
    ]
    characters = {"edges": [0, 5, 10], "counts": [3, 4]}
    params = {"train": {"label_smoothing": 0.1, "max_steps": 20}, "export": {"name": "toy"}, "report": {"language": "zh"}}
    return Results(
        corpus={
            "collect": {
                "sources": [
                    {"origin": "x.tsv", "official_split": "", "task": "", "weight": 1.0, "files": 1, "rows": 9, "skipped": {}, "bad": {}}
                ]
            },
            "clean": {
                "warnings": [],
                "rows_in": 9,
                "rows_out": 7,
                "rejected": {"copy": 2},
                "repaired": {"markup": 1},
                "private": {},
                "languages": {"source": {"en": 7}, "target": {"zh": 7}},
                "chinese_variants": {"target": {"simplified": 7}},
                "near_duplicates": {"clusters": 1, "largest": 1},
                "evidence_rows": 7,
                "source_characters": characters,
                "target_characters": characters,
            },
            "split": {
                "official_test": False,
                "test": rows,
                "removed": {},
                "folds": [3, 2],
                "label_tasks": [],
                "similarity": 0.5,
                "groups": 4,
                "largest_group": 2,
                "rows_by_similarity": {"0.50": 7},
                "imbalance": {"examples": 0.1, "characters": 0.2},
                "leak": {"metric": "chrf", "invented": 3.0, "protected": 20.0, "naive": 23.0},
            },
            "tokenizer": {"vocabulary_size": 300, "source": {"tokens_per_text": 4.0}, "target": {"tokens_per_text": 5.0}},
            "encode": {"too_long": 0},
        },
        clean_samples={part: {"copy": [dict(sample)]} for part in ("rejected", "repaired", "private")},
        training={name: {"steps": 20, "epochs": 2.0, "best_validation_loss": 3.5} for name in ("fold-0", "student")},
        histories={"fold-0": history, "student": [row | {"validation_loss": None} for row in history]},
        export={
            "size_ratio": 0.26,
            "size_bytes": {"int8": 1_500_000},
            "torch_size_bytes": 5_800_000,
            "parity": {
                "float32": {"max_log_probability_difference": 1e-6, "identical": 1.0},
                "int8": {"max_log_probability_difference": 0.5, "identical": 0.8},
            },
            "parity_sentences": 20,
            "parameters": 1_400_000,
            "tasks": [""],
        },
        models={name: systems[name] for name in names},
        tasks=[task_results("", TASK, test, systems, predictions, SAMPLES, 1)],
        params=params,
        default_params={"train": {"label_smoothing": 0.1, "max_steps": 1900}, "export": {"name": "toy"}, "report": {"language": "en"}},
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., Results]:
    """Makes results that a test may change."""
    return lambda **settings: copy.deepcopy(cached_results(**settings))
