"""`textmill run`: lines in, lines out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from textmill.serving.text_model import TextModel

TEXTS = ["Open the file", "", "Save %s now", "Datei öffnen", "a\rb\u2028c", "x" * 2000]


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "textmill", "run", *map(str, arguments)], input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("way", ["stdin", "file", "no last newline"])
def test_there_is_one_output_per_line_and_it_is_the_translators(model_folder: Path, tmp_path: Path, way: str) -> None:
    content = "\n".join(TEXTS).encode("utf-8") + (b"" if way == "no last newline" else b"\n")
    (tmp_path / "texts").write_bytes(content)
    done = run(model_folder, tmp_path / "texts") if way == "file" else run(model_folder, stdin=content)
    expected = TextModel.load(model_folder).generate(TEXTS)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("utf-8").split("\n")[:-1] == [text.replace("\n", "\\n") for text in expected]


def test_json_lines_hold_score_and_truncation(model_folder: Path) -> None:
    done = run(model_folder, "--json", "--beam-size", "1", stdin="\n".join(TEXTS).encode("utf-8"))
    rows = [json.loads(line) for line in done.stdout.decode("utf-8").split("\n")[:-1]]
    expected = TextModel.load(model_folder).generate_with_scores(TEXTS, beam_size=1)
    assert [row["source"] for row in rows] == TEXTS
    assert [(row["target"], row["is_source_truncated"], row["is_output_truncated"]) for row in rows] == [
        (output.text, output.is_source_truncated, output.is_output_truncated) for output in expected
    ]
    assert [row["score"] for row in rows] == pytest.approx([output.score for output in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "stdin", "line"),
    [
        (["nowhere"], b"", "run: nowhere: no such folder. Give the folder of an exported model"),
        (["."], b"", "run: manifest.json: no such file"),
        (["MODEL", "nowhere"], b"", "run: nowhere: No such file or directory."),
        (["MODEL", "."], b"", "run: .: Is a directory."),
        (["MODEL"], b"good\n\xff", "run: stdin: is not UTF-8. Convert it"),
        (["MODEL", "--task", "qa"], b"a", "run: task 'qa' is not known to this model. Known: 'ui'."),
        (["MODEL", "--beam-size", "two"], b"a", "textmill run: Invalid value for '-b' / '--beam-size': 'two' is not a valid"),
    ],
)
def test_what_is_wrong_is_one_line(model_folder: Path, arguments: list[str], stdin: bytes, line: str) -> None:
    done = run(*[model_folder if each == "MODEL" else each for each in arguments], stdin=stdin)
    said = done.stderr.decode("utf-8")
    assert done.returncode == 2 and said.startswith(line) and said.count("\n") == 1, said


def test_a_reader_that_leaves_early_is_no_error(model_folder: Path) -> None:
    command = f"yes 'Open the file' | '{sys.executable}' -m textmill run '{model_folder}' | head -2"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 2)
