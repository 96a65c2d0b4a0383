"""A DVC project of two stages that were locked as DVC would lock them, without running it: a second faster per test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

RAW, MADE, RESULT = Path("data/raw"), Path("data/make/pairs.json"), Path("models/use/model.json")
STAGES: dict[str, dict[str, Any]] = {
    "make": {"cmd": "python -m stages.make", "deps": [str(RAW)], "outs": [str(MADE)]},
    "use": {"cmd": "python -m stages.use", "deps": [str(MADE)], "params": ["seed"], "outs": [str(RESULT)]},
}


def make_project(folder: Path) -> None:
    """Fill `folder`, which must be the working directory: raw files, both outputs, dvc.yaml, dvc.lock, and the outputs in DVC's cache."""
    for path, content in (
        (RAW / "a.tsv", "a"),
        (RAW / "more/b.tsv", "b"),
        (MADE, "[1, 2]\n"),
        (RESULT, "{}\n"),
        ("params.yaml", "seed: 1\n"),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(str(content), encoding="utf-8")
    write_yaml(folder / "dvc.yaml", {"stages": STAGES})
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(f"[core]\n    no_scm = true\n    site_cache_dir = {folder}/.dvc/site\n", encoding="utf-8")
    with Repo(str(folder)) as repo:
        raw = next(dependency for dependency in repo.stage.get_target("make").deps).get_hash().value
    lock = {
        "make": {**entry("make"), "deps": [{"path": str(RAW), "hash": "md5", "md5": raw}]},
        "use": {**entry("use"), "params": {"params.yaml": {"seed": 1}}},
    }
    write_yaml(folder / "dvc.lock", {"schema": "2.0", "stages": lock})
    for path in (MADE, RESULT):
        kept = cached(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(path.read_bytes())
        kept.chmod(0o444)


def entry(stage: str) -> dict[str, Any]:
    """What dvc.lock has of a stage whose files are all there, without folders and params."""
    definition = STAGES[stage]
    files = {
        kind: [{"path": path, "hash": "md5", "md5": md5(Path(path))} for path in definition[kind] if Path(path).is_file()]
        for kind in ("deps", "outs")
    }
    return {"cmd": definition["cmd"], **files}


def cached(path: Path) -> Path:
    """Where DVC's cache has a file with this content."""
    return Path(".dvc/cache/files/md5") / md5(path)[:2] / md5(path)[2:]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def change_yaml(path: Path, edit: Callable[[Any], object]) -> None:
    content = YAML().load(path.read_text(encoding="utf-8"))
    edit(content)
    write_yaml(path, content)


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit, keeping size, mode and time: DVC notices nothing."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_stages(folder: Path, seconds_to_end: float) -> None:
    """Put the package `stages` into `folder`, without a stage. seconds_to_end: how long a supervisor waits for a stage that was asked to end."""
    start = Path("stages/__init__.py").read_text(encoding="utf-8")
    imported = "from textmill.pipeline.supervisor import go_on_supervised"
    changed = (
        f"from textmill.pipeline import supervisor; supervisor._SECONDS_TO_END = {seconds_to_end}; from textmill.pipeline.supervisor import"
    )
    assert imported in start
    (folder / "stages").mkdir()
    (folder / "stages/__init__.py").write_text(start.replace(imported, f"{changed} go_on_supervised"), encoding="utf-8")
