"""`textmill run`: lines in, lines out. `textmill chat`: turns in, replies out."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from exported import with_generation

from textmill.serving.text_model import TextModel

TEXTS = ["Open the file", "", "Save %s now", "Datei öffnen", "a\rb\u2028c", "x" * 2000]


def run(*arguments: str | Path, stdin: bytes = b"", command: str = "run") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "textmill", command, *map(str, arguments)], input=stdin, capture_output=True, check=False)


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
        (["MODEL", "--labels"], b"a", "run: there are no labels to choose from: none were exported for this task."),
        (["MODEL", "--stream", "--json"], b"a", "run: --stream, --labels and --num-outputs exclude each other"),
        (["MODEL", "--temperature", "0"], b"a", "run: temperature: must be greater than 0."),
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


def test_several_outputs_come_with_their_scores(model_folder: Path) -> None:
    texts = ["Open the file", "Save the page"]
    expected = [output for outputs in TextModel.load(model_folder).generate_n_best(texts, 3) for output in outputs]
    done = run(model_folder, "--num-outputs", "3", stdin="\n".join(texts).encode())
    lines = [line.split("\t") for line in done.stdout.decode().split("\n")[:-1]]
    assert [text for _, text in lines] == [output.text for output in expected]
    assert [float(score) for score, _ in lines] == pytest.approx([output.score for output in expected], abs=1e-3)
    rows = [json.loads(line) for line in run(model_folder, "-n", "3", "--json", stdin=b"Open the file").stdout.splitlines()]
    assert [row["target"] for row in rows] == [output.text for output in expected[:3]]


def test_labels_are_printed_with_their_probabilities(model_folder: Path) -> None:
    done = run(model_folder, "--label", "打开", "--label", "文件", stdin=b"Open the file")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = TextModel.load(model_folder).classify(["Open the file"], ["打开", "文件"])
    assert row == {"source": "Open the file", **found._asdict(), "probability": pytest.approx(found.probability)} | {
        "probabilities": pytest.approx(found.probabilities)
    }


def test_a_streamed_or_sampled_line_is_what_python_gives(model_folder: Path) -> None:
    model, stdin = TextModel.load(model_folder), "\n".join(TEXTS).encode("utf-8")
    for arguments, options in (
        (["--stream"], {"beam_size": 1}),
        (["--seed", "3"], {"method": "sampling", "seed": 3}),
        (["--stream", "--temperature", "0.7", "--seed", "3"], {"method": "sampling", "seed": 3, "temperature": 0.7}),
    ):
        done = run(model_folder, *arguments, stdin=stdin)
        assert done.stderr == b"" and done.stdout.decode("utf-8").split("\n")[:-1] == [
            text.replace("\n", "\\n") for text in model.generate(TEXTS, **options)
        ]


def test_a_chat_answers_each_line_and_says_how_long_it_took_if_asked(model_folder: Path) -> None:
    turns = ["Open the file", "", "Save the page"]
    done = run(model_folder, "--verbose", stdin="\n".join(turns).encode(), command="chat")
    expected = TextModel.load(model_folder).generate([turn for turn in turns if turn], beam_size=1)
    assert (done.returncode, done.stdout.decode("utf-8")) == (0, "".join(f"{reply}\n" for reply in expected))
    note, *times = done.stderr.decode().strip().split("\n")
    assert note == "This model was not trained on dialogue, so it sees only the newest line."
    assert len(times) == 2 and all(re.fullmatch(r"first piece after \d+ ms, reply after \d+ ms", line) for line in times)


def test_a_chat_remembers_what_was_said(model_folder: Path, tmp_path: Path) -> None:
    model = with_generation(model_folder, tmp_path / "dialogue", turn_separator=" | ", max_source_tokens=40)
    turns, expected = [], []
    for turn in ["Open the file", "Save the page", "Close the window", "Print the report"]:
        turns.append(turn)
        expected.append("".join(piece.text for piece in model.stream(model.prompt(turns), stop=[" | "], cut="start")))
        turns.append(expected[-1])
    said = "\n".join(turns[::2]).encode()
    done = run(tmp_path / "dialogue", stdin=said, command="chat")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("utf-8") == "".join(f"{reply}\n" for reply in expected)
    assert expected[1:] != model.generate(turns[2::2], beam_size=1), "without a history, the replies are others"


def test_ctrl_c_ends_a_chat_without_an_error(model_folder: Path) -> None:
    command = [sys.executable, "-m", "textmill", "chat", str(model_folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as chat:
        assert chat.stdin and chat.stdout and chat.stderr
        chat.stdin.write(b"Open the file\n")
        chat.stdin.flush()
        assert chat.stdout.readline()  # it is up
        chat.send_signal(signal.SIGINT)
        assert chat.wait(60) == 0 and b"Traceback" not in chat.stderr.read()
