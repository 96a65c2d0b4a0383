from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.distill.distillation import student_settings
from textmill.distill.settings import DistillSettings
from textmill.model.settings import ModelSettings
from textmill.settings.params_file import read_params
from textmill.settings.schema import build, completed
from textmill.settings.tree import check_settings, limits, with_defaults
from textmill.train.settings import TrainSettings
from textmill.tuning.space import flattened, with_values

PARAMS: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))


def test_the_default_settings_are_right() -> None:
    check_settings(PARAMS)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "learning_rat", 0.1, "unknown key train.learning_rat. Did you mean train.learning_rate?"),
        ("train", "learning_rate", "1e-3", "train.learning_rate must be a number, not '1e-3' (str)"),
        ("train", "learning_rate", math.inf, "train.learning_rate must be a finite number, not inf"),
        ("train", "weight_decay", math.nan, "train.weight_decay must be a finite number, not nan"),
        ("train", "gradient_clip", 10**400, "train.gradient_clip must be a finite number, not inf"),
        ("decode", "length_penalty", -math.inf, "decode.length_penalty must be a finite number, not -inf"),
        ("train", "max_steps", True, "train.max_steps must be a whole number, not True (bool)"),
        ("train", "max_steps", 1.5, "train.max_steps must be a whole number, not 1.5 (float)"),
        ("train", "schedule", "linear", "train.schedule is 'linear' (str), but must be one of: inverse_sqrt"),
        ("train", "warmup_steps", 10**6, "train.warmup_steps: must be below max_steps"),
        ("train", "decay_steps", 9, "train.decay_steps: needed with schedule warmup_stable_decay"),
        ("model", "heads", 7, "model.heads: 7 does not divide width 160"),
        ("model", "key_value_heads", 3, "model.key_value_heads: 3 does not divide heads 4"),
        ("model", "key_value_heads", 2, "prune.encoder_heads is 3, but model.key_value_heads makes groups of 2 heads that share a key"),
        ("model", "positions", "learned", "model.max_positions: must be 1 or more with learned positions"),
        ("model", "width", None, "model.width must be a whole number"),
        ("tokenizer", "vocabulary_size", "Auto", "tokenizer.vocabulary_size must be a whole number or auto, not 'Auto' (str)"),
        ("tokenizer", "vocabulary_size", 1.5, "tokenizer.vocabulary_size must be a whole number, not 1.5 (float)"),
        ("tokenizer", "vocabulary_size", None, "tokenizer.vocabulary_size must be a whole number"),
        ("split", "folds", [0, 2], "split.folds: must be 0, 1, 2"),
        ("split", "folds", -1, "split.folds must be a list"),
        ("split", "folds", [0, 1, 2, 3], "split.folds: lists 4 folds, but num_folds times repeats is 3"),
        ("split", "folds", [], "split.folds: must be 0, 1, 2"),
        ("split", "similarity", 0.1, "split.similarity: must be between 0.3"),
        ("collect", "sources", [], "collect.sources: is empty"),
        *(
            ("collect", "sources", [{"format": "gettext", "wheel": wheel, "sha256": "0" * 64}], "sources[0].wheel: must be name==version")
            for wheel in (
                "--only-binary=:none:,a==1",
                "-r==1",
                "a==1 --pre",
                "a==1\n",
                "a==1,b==2",
                "a==1; python_version > '3'",
                "a @ http://x/a==1",
                "a[b]==1",
                "a===1",
                "a==1.*",
                "a==",
                "==1",
                "a",
                "../a==1",
                "a==1==2",
            )
        ),
        *(
            ("collect", "sources", [{"format": "gettext", "wheel": "a==1", "sha256": sha256}], "sources[0].sha256: must be 64")
            for sha256 in ("", "0" * 63, "../" + "0" * 61, "A" * 64, "0" * 64 + "\n")
        ),
        ("collect", "sources", [{"format": "jsonl"}], "collect.sources[0].path: give either path or wheel"),
        ("collect", "sources", [{"format": "jsonl", "path": "x", "weight": 0}], "collect.sources[0].weight: must be between 0.01 and 100"),
        (
            "collect",
            "sources",
            [{"format": "jsonl", "path": "x", "task": "qa"}],
            "collect.sources[0].task: task 'qa' is not in params.yaml, tasks. Known: translate.",
        ),
        ("tasks", "qa_zh", {"source_language": "en", "kind": "dialogue"}, "tasks.qa_zh: use only lower-case letters"),
        ("tasks", "qa", {"source_language": "en", "kind": "chat"}, "tasks.qa.kind: is 'chat', but must be one of: translation, "),
        ("tasks", "qa", {"source_language": "en"}, "tasks.qa.target_language: is missing"),
        (
            "tasks",
            "translate",
            {"source_language": "english", "kind": "dialogue"},
            "tasks.translate.source_language: 'english' is not a language",
        ),
        (
            "tasks",
            "translate",
            {"source_language": "en", "kind": "dialogue", "clean": {"filters": {"max_caracters": 3}}},
            "unknown key tasks.translate.clean.filters.max_caracters. Did you mean tasks.translate.clean.filters.max_characters?",
        ),
        (
            "tasks",
            "translate",
            {"source_language": "en", "kind": "dialogue", "decode": {"beam_size": 0}},
            "tasks.translate.decode.beam_size: must be 1 or more",
        ),
        ("collect", "sources", [{"format": "lines", "path": "x"}], "collect.sources[0].target_path: needed with format lines"),
        (
            "collect",
            "sources",
            [{"format": "conversations", "path": "x", "turn_separator": " "}],
            "turn_separator: must have a visible character",
        ),
        ("collect", "sources", [{"format": "text", "path": ""}], "collect.sources[0].path: is empty"),
        ("collect", "max_bad_share", 2.0, "collect.max_bad_share: must be between 0 and 1"),
        ("collect", "max_row_bytes", 10, "collect.max_row_bytes: must be between"),
        ("prune", "encoder_heads", 9, "prune.encoder_heads is 9, but model.heads is 4"),
        ("clean", "scheduler", "localhost", "clean.scheduler: must be an address such as tcp://host:8786"),
        ("clean", "near_duplicates", 0.3, "clean.near_duplicates: must be 0 (off), or from 0.5 to 1"),
        ("clean", "filters", {"max_caracters": 3}, "unknown key clean.filters.max_caracters. Did you mean clean.filters.max_characters?"),
        ("clean", "duplicates", "sources", "clean.duplicates is 'sources' (str), but must be one of: pair, source, none"),
        ("back_translate", "sources", [{"path": ""}], "back_translate.sources[0].path: is empty"),
        ("back_translate", "sources", ["x.txt"], "back_translate.sources[0] must be a mapping"),
        ("back_translate", "weight", 0, "back_translate.weight: must be between 0.01 and 100"),
        ("export", "name", "$(touch x)", "export.name: may contain only ASCII letters"),
    ],
)
def test_a_wrong_value_is_named_with_its_full_key(section: str, key: str, value: object, message: str) -> None:
    params = copy.deepcopy(PARAMS)
    params[section][key] = value
    with pytest.raises(UserError) as error:
        check_settings(params)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distill.train.subword_sampling": 0.5}, "distill.train.subword_sampling is only for the fold models (train.subword_sampling)"),
        ({"prune.fine_tune.stop_on": "chrf"}, "prune.fine_tune.stop_on is only for the fold models"),
        ({"back_translate.train.parallel": "data"}, "back_translate.train.parallel is only for the fold models"),
        ({"train.compile": True, "train.parallel": "sharded"}, "train.compile: works with parallel: none or data. Set it to false."),
        (
            {"model.architecture": "lstm", "prune.fine_tune.compile": True},
            "prune.fine_tune.compile does not work with an lstm. Set it to false.",
        ),
        ({"model.architecture": "lstm", "train.cuda_graphs": "always"}, "train.cuda_graphs does not work with an lstm. Set it to auto."),
        ({"train.cuda_graphs": "always", "train.parallel": "data"}, "train.cuda_graphs: always works only with parallel: none and"),
        ({"train.cuda_graphs": "always", "train.compile": True}, "train.cuda_graphs: always works only with parallel: none and"),
        ({"distill.train.profile": True}, "distill.train.profile is only for the fold models"),
        ({"train.subword_sampling": 0.5, "tokenizer.model_type": "bpe"}, "train.subword_sampling needs tokenizer.model_type unigram"),
        ({"distill.feed_forward": 32}, "distill.feed_forward is 32 and model.feed_forward"),
        ({"distill.decoder_layers": -1}, "distill.decoder_layers: must be 0 or more"),
        ({"model.architecture": "lstm", "distill.decoder_layers": 7}, "distill.decoder_layers is 7 and model.decoder_layers"),
        (
            {"train.schedule": "warmup_stable_decay", "train.decay_steps": 10**6},
            "train.decay_steps: plus warmup_steps must be at most max_steps",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other_are_named_before_anything_runs(change: dict[str, Any], message: str) -> None:
    params = with_values(PARAMS, {"distill.start_from": "teacher", **change})
    with pytest.raises(UserError) as error:
        check_settings(params)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_feed_forward_width_of_the_models_can_be_changed_alone() -> None:
    check_settings(with_values(PARAMS, {"model.feed_forward": 96}))
    assert (
        student_settings(
            build(ModelSettings, PARAMS["model"], "model"), build(DistillSettings, completed(PARAMS)["distill"], "distill")
        ).feed_forward
        == 640
    )


def test_a_missing_key_and_an_unknown_section_are_named() -> None:
    for change, message in (
        (lambda p: p["tasks"]["translate"].pop("target_language"), "tasks.translate.target_language: is missing"),
        (lambda p: p["collect"].pop("sources"), "key collect.sources is missing"),
        (lambda p: p.pop("collect"), "key collect.sources is missing"),
        (lambda p: p["tasks"]["translate"].pop("source_language"), "key tasks.translate.source_language is missing"),
        (lambda p: p.pop("tasks"), "tasks is empty. Name at least one"),
        (lambda p: p.update(trian={}), "unknown section trian. Did you mean train?"),
        (lambda p: p.update(seed="1"), "seed must be a whole number"),
        (lambda p: p.update(seed=-1), "seed must be a whole number from 0 to 2147483647, not -1"),
        (lambda p: p.update(seed=2**32), "seed must be a whole number from 0 to 2147483647, not 4294967296"),
        (lambda p: p.update(train=[1]), "train must be a mapping"),
    ):
        params = copy.deepcopy(PARAMS)
        change(params)
        with pytest.raises(UserError, match=message.replace("?", r"\?")):
            check_settings(params)


SHORT: dict[str, Any] = {
    "tasks": {"translate": {"source_language": "en", "target_language": "de"}},
    "collect": {"sources": [{"format": "tsv", "path": "data/raw/a.tsv"}]},
}


def test_languages_and_sources_are_enough_and_all_else_is_filled_in() -> None:
    check_settings(SHORT)
    full = with_defaults(SHORT)
    assert dict(flattened(full)).keys() >= dict(flattened(PARAMS)).keys() - {key for key, _ in flattened(PARAMS) if ".sources" in key}
    check_settings(full)
    assert with_defaults(full) == full, "nothing is left to fill in"
    assert with_defaults(PARAMS) | {"seed": 2} == with_defaults(PARAMS | {"seed": 2}), "a value in the file is kept"


def test_with_one_number_for_the_length_of_training_all_trainings_have_it() -> None:
    for steps, warmup, interval in ((4, 0, 1), (1900, 316, 190), (100_000, 4000, 10_000)):
        short = SHORT | {"train": {"max_steps": steps}}
        check_settings(short)
        full = with_defaults(short)
        for section, key in (("distill", "train"), ("prune", "fine_tune"), ("back_translate", "train")):
            training = build(TrainSettings, full[section][key], section)
            assert training == build(TrainSettings, full["train"], "train")
            assert (training.max_steps, training.num_warmup_steps, training.validation_interval) == (steps, warmup, interval)


def test_an_empty_file_is_named() -> None:
    for content in (None, [], "collect"):
        with pytest.raises(UserError, match="must be a mapping of sections"):
            check_settings(content)  # type: ignore[arg-type]


def test_a_table_of_positions_holds_the_longest_text() -> None:
    for architecture, needed in (("encoder_decoder", 129), ("decoder_only", 257)):
        params = copy.deepcopy(PARAMS)
        params["encode"]["max_tokens"] = params["decode"]["max_tokens"] = 128
        params["model"] |= {"architecture": architecture, "positions": "learned", "max_positions": needed}
        check_settings(params)
        params["model"]["max_positions"] -= 1
        with pytest.raises(UserError, match=f"a text can have {needed} positions"):
            check_settings(params)
        params["model"]["max_positions"] += 1
        params["tasks"]["translate"]["decode"] = {"max_source_tokens": 400}
        with pytest.raises(UserError, match=f"a text can have {400 if architecture == 'encoder_decoder' else 528} positions"):
            check_settings(params)


def test_a_task_without_a_source_is_named() -> None:
    tasks = {name: {"kind": "dialogue", "source_language": "en"} for name in ("chat", "talk")}
    params = SHORT | {"tasks": tasks, "collect": {"sources": [SHORT["collect"]["sources"][0] | {"task": "chat"}]}}
    with pytest.raises(UserError, match=r"\Aparams.yaml: tasks.talk: no source in collect.sources has this task. Add one, or [^\n]*\Z"):
        check_settings(params)
    check_settings(params | {"tasks": {"chat": tasks["chat"]}})


def test_an_lstm_passes_and_says_what_it_cannot_do() -> None:
    params = copy.deepcopy(PARAMS)
    assert limits(params) == ""
    params["model"]["architecture"] = "lstm"
    check_settings(params)
    assert "cannot be pruned or exported" in limits(params) and limits(params).count("\n") == 1


def bomb(level: str) -> str:
    """Nine levels of ten aliases each: a billion values in a kilobyte. level: how one level holds the one below."""
    lines = ["a0: &a0 {x: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"]
    for depth in range(1, 9):
        lines.append(f"a{depth}: &a{depth} " + level.replace("BELOW", ", ".join([f"*a{depth - 1}"] * 10)))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("[BELOW]"), "has more than 100000 values, with aliases"),
        (bomb("{<<: [BELOW]}"), "has more than 100000 values, with aliases"),
        ("a: &a [*a]\n", "nested too deeply, or an alias contains itself"),
        ("- " * 5000, "nested too deeply"),
        ("a: " + "x" * (1 << 21), "has more than 100000 values"),
        ("a: b: c", "not valid YAML"),
        ("a: *b", "not valid YAML"),
        ("a: \0", "not valid YAML"),
        (None, "no such file"),
    ],
    ids=["lists", "merges", "circle", "deep", "long", "no-yaml", "no-anchor", "nul", "missing"],
)
def test_a_file_that_would_keep_dvc_busy_for_ever_is_refused_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"^params\.yaml: {message}[^\n]*$"):
        read_params(path)


def test_aliases_of_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: &a {b: 1e-4}\nc: {<<: *a, d: [*a, *a]}\n")
    assert read_params(tmp_path / "params.yaml")["c"] == {"b": 1e-4, "d": [{"b": 1e-4}] * 2}


def test_a_training_takes_over_from_train_what_it_leaves_out_but_nothing_that_folds_alone_have() -> None:
    changed = with_values(
        PARAMS, {"train.r_drop": 0.5, "train.subword_sampling": 0.3, "train.batch_tokens": 700, "distill.train.r_drop": 0.2}
    )
    for section, key, r_drop in (("distill", "train", 0.2), ("prune", "fine_tune", 0.5), ("back_translate", "train", 0.5)):
        training = completed(changed)[section][key]
        assert (training["r_drop"], training["batch_tokens"]) == (r_drop, 700)
        assert training["max_steps"] == PARAMS[section][key]["max_steps"] and "subword_sampling" not in training
    check_settings(changed)


def test_what_follows_from_the_kind_is_set_for_a_task_alone() -> None:
    """Set for all tasks, it would have no effect."""
    for key, value in (("method", "sampling"), ("cut", "start")):
        with pytest.raises(UserError, match=rf"\Aparams.yaml: decode.{key} follows from the kind of each task. Set it in [^\n]*\Z"):
            check_settings(SHORT | {"decode": {key: value}})
        check_settings(SHORT | {"tasks": {"translate": SHORT["tasks"]["translate"] | {"decode": {key: value}}}})


def test_min_p_is_refused_if_the_exported_model_would_need_it() -> None:
    task = {"tasks": {"poem": {"kind": "generation", "source_language": "en"}}}
    with pytest.raises(UserError, match=r"\Aparams.yaml: tasks.poem: min_p is 0.1, but the exported model does not have it[^\n]*\Z"):
        check_settings(SHORT | task | {"decode": {"min_p": 0.1}})
    check_settings(SHORT | {"decode": {"min_p": 0.1}})
    check_settings(SHORT | task | {"decode": {"min_p": 0.1}, "model": {"architecture": "lstm"}})
