"""The benchmark commands as a user runs them, on files that the tests write."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": "src"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=3600)


def labelled(label: str, action: str, source: str, target: str, clean: tuple[str, str] | None = None) -> dict[str, Any]:
    clean_source, clean_target = clean or (source, target)
    row = {"source": source, "target": target, "label": label, "action": action}
    return row | {"clean_source": clean_source, "clean_target": clean_target}


ROWS = [
    labelled("ok", "keep", "Good morning to you.", "早上好。"),
    labelled("ok", "keep", "We are going home now.", "我们现在回家。"),
    labelled("dup_exact", "drop", "We are going home now.", "我们现在回家。"),
    labelled("ok", "keep", "My mail is here.", "我的邮件在这里。"),
    labelled("html", "repair", "<p>Open the door.</p>", "<b>开门。</b>", ("Open the door.", "开门。")),
    labelled("mojibake_cp1252", "repair", "Lost.", "丢\ufffd了。", ("Lost.", "丢失了。")),
    labelled("pii", "repair", "Write me. a@example.com", "写信给我。 a@example.com", ("Write me.", "写信给我。")),
    labelled("copied", "drop", "Back off!", "Back off!"),
    labelled("misaligned", "drop", "Have a nice day.", "他喜欢看电视。"),
]


def test_quality_counts_as_it_says(tmp_path: Path) -> None:
    file, saved = tmp_path / "toy" / "rows.jsonl.gz", tmp_path / "rates.json"
    file.parent.mkdir()
    with gzip.open(file, "wt", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    done = run("benchmarks/cleaning_quality.py", str(file), "--pair", "en-zh", "--save", str(saved))
    assert done.returncode == 0, done.stderr
    rates = json.loads(done.stdout.strip().split("\n")[-1])
    assert rates == {
        "kept_clean": 1.0,  # one of the two equal rows went
        "dropped_bad": 0.6667,  # nine rows teach nothing about what belongs together
        "repaired_exact": 1.0,
        "lost_handled": 1.0,
        "pii_masked": 1.0,
        "pii_false_alarms": 0.0,
    }
    assert "| copied | drop | 1 | 0 | 0 | 1 | copy 1 |" in done.stdout
    assert json.loads(saved.read_text(encoding="utf-8")) == {"toy": rates | {"rows": len(ROWS)}}


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"source": "a", "target": "b"}\n', encoding="utf-8")
    done = run("benchmarks/cleaning_quality.py", str(file), "--pair", "en-zh")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"cleaning_quality: {file}:1: field 'label' is missing. It needs: source, target, label, action, clean_source, clean_target.\n"
    )
