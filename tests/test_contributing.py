"""The diffs of CONTRIBUTING.md apply to the present code and work, and the documentation is complete and linked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

GUIDE = Path("CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = {
    title: (re.findall(r"^- `(\S+)`: ", text, re.MULTILINE), diff)
    for title, text, diff in re.findall(r"^### (.+?)\n(.*?)^```diff\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
}
# What shows that the diff works: mostly the tests that it adds, called in the changed copy.
CHECKS = {
    "Add a filter to clean": """
        import test_filters, test_structure
        assert "long_word" in {expected for _, _, expected in test_filters.CASES}
        for case in test_filters.CASES:
            test_filters.test_filters_give_their_reason(*case)
        test_filters.test_every_filter_has_a_case()
        test_structure.test_every_setting_is_explained_and_the_page_of_settings_is_up_to_date()
        """,
    "Add a metric to evaluate": """
        import test_evaluation, test_translation_metrics, test_words
        test_translation_metrics.test_the_length_ratio_is_that_of_all_characters()
        test_evaluation.test_everything_that_makes_a_metric_or_baseline_is_listed()
        test_words.test_every_text_is_used_and_every_text_that_is_used_exists()
        """,
    "Add a kind of task": """
        import test_structure, test_tasks, test_tasks_docs
        from textmill.evaluate.baselines import BASELINES
        from textmill.evaluate.metrics import METRICS
        from textmill.settings.tree import check_settings
        from textmill.tasks.kinds import KINDS
        kind = KINDS["correction"]
        assert {*kind.metrics, *kind.compared} <= set(METRICS) and set(kind.baselines) <= set(BASELINES)
        check_settings({
            "tasks": {"correct": {"kind": "correction", "source_language": "en"}},
            "collect": {"sources": [{"format": "tsv", "path": "data/raw/mine.tsv"}]},
        })
        test_tasks.test_a_sentence_that_needs_no_correction_is_kept()
        test_tasks.test_the_documentation_has_every_kind()
        test_tasks.test_what_a_kind_switches_off_exists()
        test_tasks_docs.test_every_kind_has_an_example_and_its_row_names_how_it_is_scored()
        test_structure.test_every_setting_is_explained_and_the_page_of_settings_is_up_to_date()
        """,
    "Add a stage": """
        import test_drawing, test_structure
        from dvc.repo import Repo
        from stages.preview import main
        from textmill.commands.dependencies import main as dependencies
        assert dependencies(write=False) == 0
        with Repo(".", config={"core": {"no_scm": True, "site_cache_dir": ".site"}}) as repo:
            assert "preview" in {stage.name for stage in repo.index.stages}
        test_drawing.test_the_seed_decides_which_pairs_are_drawn()
        test_structure.test_a_stage_defines_main_and_nothing_else()
        test_structure.test_every_module_lies_in_a_room_and_knows_only_whom_it_may_know()
        test_structure.test_the_contract_of_a_stage_names_what_dvc_yaml_declares()
        """,
    "Add an exporter": """
        import pathlib, test_float16, test_structure
        import textmill.export.package
        test_float16.test_float16_takes_half_of_the_bytes_and_is_rounded_only(pathlib.Path("."))
        assert pathlib.Path("float16").stat().st_size
        test_structure.test_the_contract_of_a_stage_names_what_dvc_yaml_declares()
        """,
}
PAGES = [*sorted(Path("docs").rglob("*.md")), *map(Path, ("README.md", "README.zh-CN.md", "SECURITY.md", "CONTRIBUTING.md"))]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the tracked files."""
    for name in subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout.split("\0"):
        if Path(name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, tmp_path / name)
    return tmp_path


def run(folder: Path, *command: str, text: str | None = None) -> None:
    """Run a command in a changed copy, with the code of this copy. git takes the folder for no repository, so it applies to plain files."""
    code = [folder / "src", folder, *(path for path in (folder / "tests").rglob("*") if path.is_dir()), folder / "tests"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, code)), "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_recipe_has_a_check() -> None:
    assert set(RECIPES) == set(CHECKS) and GUIDE.count("```diff") == len(CHECKS)


@pytest.mark.parametrize("title", CHECKS)
def test_the_diff_of_a_recipe_applies_and_works(project: Path, title: str) -> None:
    files, diff = RECIPES[title]
    assert sorted(files) == sorted(re.findall(r"^diff --git a/(\S+) b/\1$", diff, re.MULTILINE)), "the list of files to edit"
    run(project, "git", "apply", "-", text=diff)
    for action in (["check"], ["format", "--check"]):
        run(project, sys.executable, "-m", "ruff", *action, *(file for file in files if file.endswith(".py")))
    run(project, sys.executable, "-c", re.sub("^ {8}", "", CHECKS[title], flags=re.MULTILINE))


def test_the_index_lists_every_page_once() -> None:
    listed = re.findall(r"^- \[[^]]+\]\(([\w-]+\.md)\): ", Path("docs/index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in Path("docs").glob("*.md") if path.name != "index.md")
    assert not list(Path("docs").glob("*/*.md")), "a page in a subfolder, which the index cannot list yet"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"\w+:|#", target)]
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_the_readmes_lead_to_the_pages_of_a_newcomer() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        text = Path(name).read_text(encoding="utf-8")
        assert all(f"]({page})" in text for page in ("CONTRIBUTING.md", "docs/index.md", "docs/glossary.md")), name


def test_pre_commit_runs_what_make_check_runs() -> None:
    rule = re.search(r"^check:.*\n((?:\t.*\n)+)", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert rule is not None
    commands = rule[1].replace("$(RUN)", ".venv/bin/python").replace("$(TEXTMILL)", ".venv/bin/textmill")
    config = YAML(typ="safe").load(Path(".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == commands.replace("\t", "").rstrip("\n").split("\n")
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)
