"""docs/reliability.md names tests that exist, and has every row once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PAGE = Path("docs/reliability.md").read_text(encoding="utf-8")
NUM_ROWS = {"F": 25, "R": 19, "B": 13, "S": 16}
HEADER = ["row", "promise", "test", "result"]


def rows() -> list[list[str]]:
    """Cells of every row whose name is a letter and a number."""
    lines = [line for line in PAGE.split("\n") if re.match(r"\| [A-Z]\d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named_tests(cell: str) -> Iterator[tuple[str, str]]:
    """Files and functions. A name that follows no file has the file ''."""
    file = ""
    for name in re.findall(r"`([^`]+)`", cell):
        if name.endswith(".py"):
            file = name
        elif name.startswith("test_"):
            yield file, name


@cache
def functions(file: str) -> set[str]:
    return {node.name for node in ast.parse(Path(file).read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_row_is_there_exactly_once_and_in_order() -> None:
    assert [row[0] for row in rows()] == [f"{letter}{number}" for letter, count in NUM_ROWS.items() for number in range(1, count + 1)]
    assert all(len(row) == len(HEADER) for row in rows())
    assert PAGE.count(f"| {' | '.join(HEADER)} |") == len(NUM_ROWS), "a table per letter"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_tests_of_a_row_exist(row: list[str]) -> None:
    for file, name in named_tests(row[2]):
        assert file.startswith("tests/") and Path(file).is_file(), f"{name} follows no file of tests"
        assert name in functions(file), f"{file} has no {name}"
    for name in re.findall(r"`([^`]+\.py)`", row[2]):
        assert Path(name).is_file(), name
    for target in re.findall(r"`make ([a-z-]+)", " ".join(row)):
        assert re.search(rf"^{target}:", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE), target


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_result_says_what_is_missing_and_none_is_claimed_without_a_test(row: list[str]) -> None:
    _, promise, tests, result = row
    assert promise.endswith(".") and not re.search(r"\. [A-Z]", promise), "one sentence"
    assert re.match(r"passes$|passes( |; )\S|(in part|no test): \S", result)
    assert (tests == "none") == result.startswith("no test")
    assert tests == "none" or list(named_tests(tests)) or "`make verify`" in tests


def test_every_other_test_that_the_page_names_exists_too() -> None:
    files = list(Path("tests").rglob("test_*.py"))
    known = {path.stem for path in files} | {name for path in files for name in functions(str(path))}
    assert set(re.findall(r"\btest_\w+", PAGE)) <= known
