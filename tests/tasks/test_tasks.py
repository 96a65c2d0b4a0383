from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.clean.settings import CleanSettings, FilterSettings, RepairSettings, settings_of
from textmill.settings.schema import build
from textmill.tasks.kinds import KINDS
from textmill.tasks.settings import TaskSettings, model_name, stored_name, task_of

CLEAN = build(CleanSettings, YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["clean"], "clean")
TRANSLATE = TaskSettings("en", target_language="zh")
QA = TaskSettings("en", kind="question_answering")
LABEL = TaskSettings("zh", kind="classification")


def test_a_new_kind_is_one_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "toy", replace(KINDS["dialogue"], name="toy"))
    task = build(TaskSettings, {"source_language": "en", "kind": "toy"}, "tasks.only")
    assert task.special.name == "toy" and task.languages.codes() == ("en", "en")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"\Aparams.yaml: tasks.only.kind: is 'toy', but must be one of: translation, [^\n]*\Z"):
        build(TaskSettings, {"source_language": "en", "kind": "toy"}, "tasks.only")


def test_the_documentation_has_every_kind() -> None:
    assert all(f"`{kind}`" in Path("docs/tasks.md").read_text(encoding="utf-8") for kind in KINDS)


def test_what_a_kind_switches_off_exists() -> None:
    filters, repairs = ({field.name for field in fields(section)} for section in (FilterSettings, RepairSettings))
    for kind in KINDS.values():
        assert kind.filters_off <= filters and kind.repairs_off <= repairs, kind.name


def test_a_translation_is_cleaned_as_the_section_clean_says() -> None:
    assert settings_of(CLEAN, {"translate": TRANSLATE}, "translate") == CLEAN


def test_a_kind_switches_off_what_makes_no_sense_and_a_task_can_switch_it_on_again() -> None:
    own: dict[str, Any] = {"filters": {"max_characters": 900}, "near_duplicates": 0.9}
    tasks = {"answer": QA, "other": TaskSettings("en", kind="question_answering", clean=own), "label": LABEL}
    plain, other, label = (settings_of(CLEAN, tasks, name) for name in tasks)
    assert (plain.filters.misaligned, plain.filters.max_characters, plain.near_duplicates, plain.duplicates) == (0, 0, 0, "pair")
    assert plain.filters.damaged and plain.filters.language_confidence == CLEAN.filters.language_confidence
    assert (other.filters.misaligned, other.filters.max_characters, other.near_duplicates) == (0, 900, 0.9)
    assert (label.duplicates, label.filters.scripts) == ("source", False)


def test_languages_that_are_left_out_follow_from_the_kind() -> None:
    assert [task.languages.codes() for task in (TRANSLATE, QA, LABEL)] == [("en", "zh"), ("en", "en"), ("zh", "und")]


def test_one_task_has_no_name_in_tables_and_several_have_theirs() -> None:
    one, two = {"translate": TRANSLATE}, {"translate": TRANSLATE, "answer": QA}
    assert stored_name("", one) == stored_name("translate", one) == "" and task_of("", one) is TRANSLATE
    assert stored_name("answer", two) == "answer" and task_of("answer", two) is QA
    for name, tasks in (("", two), ("answer", one)):
        with pytest.raises(UserError, match=r"is not in params\.yaml, tasks\. Known: translate"):
            stored_name(name, tasks)


def test_the_model_is_named_after_languages_or_tasks() -> None:
    tasks = {"en to zh": TRANSLATE, "answer": QA}
    assert model_name("auto", {"translate": TRANSLATE}) == "textmill-en-zh"
    assert model_name("auto", {"open-book answer": QA}) == "textmill-open-book-answer-en"
    assert model_name("auto", tasks) == "textmill-en-to-zh-answer" and model_name("mine", tasks) == "mine"
