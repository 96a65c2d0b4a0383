"""Rules of the house, as tests."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.commands.cli import textmill
from textmill.commands.dependencies import main as stage_deps
from textmill.commands.folds import with_folds
from textmill.pipeline.fold_lists import check_fold_lists

SOURCES = sorted(Path("src").rglob("*.py"))
STAGES = sorted(Path("stages").glob("*.py"))
PIPELINE = YAML(typ="safe").load(Path("dvc.yaml").read_text(encoding="utf-8"))
# Who may know whom. All may know base, and the settings of other rooms; nobody knows pipeline and tracking but what is named here.
KNOWS: dict[str, set[str]] = {
    "base": {"tracking"},  # to take passwords out of messages
    "settings": set(),
    "tasks": set(),
    "text": set(),
    "similarity": {"text"},
    "collect": {"tasks", "text"},
    "clean": {"tasks", "text", "similarity"},
    "split": {"tasks", "text", "similarity"},
    "tokenizer": {"text"},
    "encode": {"tasks", "text", "tokenizer"},
    "model": {"tokenizer", "encode"},
    "train": {"tokenizer", "encode", "model"},
    "decode": {"tasks", "tokenizer", "encode", "model"},
    "back_translate": {"tasks", "text", "similarity", "collect", "clean", "split", "tokenizer", "encode", "model", "train", "decode"},
    "distill": {"tasks", "text", "tokenizer", "encode", "model", "train", "decode"},
    "prune": {"tokenizer", "encode", "model", "train"},
    "export": {"tasks", "tokenizer", "encode", "model", "decode", "serving"},
    "evaluate": {"tasks", "text", "similarity", "tokenizer", "encode", "model", "decode"},
    "serving": {"tokenizer", "decode", "tracking"},
    "report": {"tasks", "text", "evaluate"},
    "tuning": {"tracking"},
    "tracking": set(),
    "track": {"serving", "tracking"},
    "pipeline": {"tracking", "track"},
    "commands": {"tracking", "track", "pipeline", "tuning", "tasks", "collect", "decode", "evaluate", "serving"},
}
KNOW_DVC = {"pipeline", "commands"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_declared_dependencies_are_the_import_closure(capsys: pytest.CaptureFixture[str]) -> None:
    assert stage_deps(write=False) == 0, capsys.readouterr().out


def test_only_tracking_and_the_served_model_import_mlflow_and_only_what_may_knows_dvc() -> None:
    for path in SOURCES:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not {"dvc", "dvc_data"} & tops or path.parts[2] in KNOW_DVC, path
        assert "mlflow" not in tops or path.parts[2] == "tracking" or path.name == "pyfunc_model.py", path


def test_every_module_lies_in_a_room_and_knows_only_whom_it_may_know() -> None:
    for path in SOURCES:
        if path.name in ("__init__.py", "__main__.py"):
            continue
        room = path.parts[2]
        known = {name.split(".")[1] for name in imports(path) if re.match(r"textmill\.\w+\.(?!settings\b)", name)}
        assert known <= KNOWS[room] | {room, "base", "settings"}, f"{path}: {known - KNOWS[room]}"


def test_a_room_does_not_know_itself_by_way_of_others() -> None:
    """An order of the rooms exists in which each knows only those before it."""
    waiting = {room: known - {"tracking"} for room, known in KNOWS.items()}
    while waiting:
        free = [room for room, known in waiting.items() if not known & set(waiting)]
        assert free, waiting
        for room in free:
            del waiting[room]


def test_a_stage_defines_main_and_nothing_else() -> None:
    for path in STAGES:
        if path.stem == "__init__":
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))] == ["main"], path
        assert not [node for node in ast.walk(body[-2]) if isinstance(node, (ast.For, ast.While)) or _is_arithmetic(node)], path


def _is_arithmetic(node: ast.AST) -> bool:
    """Neither a union of mappings (|) nor a path below another (/)."""
    return isinstance(node, ast.BinOp) and not isinstance(node.op, (ast.BitOr, ast.Div))


def test_no_error_message_begins_with_the_name_of_a_stage_or_a_command() -> None:
    """The program puts its name in front of the message of a UserError: it would be there twice, or be that of another stage."""
    programs = {path.stem for path in STAGES} | set(textmill.commands)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "UserError" and node.args:
                message = ast.unparse(node.args[0])
                begin = re.match(r"""f?['"](?:([\w-]+)|\{[\w.]*description\}): """, message)
                assert begin is None or (begin[1] and begin[1].lower() not in programs | {"prove"}), f"{path}:{node.lineno}: {message}"


def test_a_stage_that_is_run_by_hand_says_in_one_line_that_dvc_runs_it() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    for name, given in (("clean", {}), ("evaluate_exported", {"DVC_STAGE": ""})):
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{name}"], capture_output=True, text=True, check=False, env={**environment, **given}
        )
        words = "stages are run by DVC. Use `dvc repro -s STAGE`; `dvc stage list` shows the names."
        assert (done.returncode, done.stderr) == (2, f"{name}: {words}\n")


def test_the_contract_of_a_stage_names_what_dvc_yaml_declares() -> None:
    for name, entry in PIPELINE["stages"].items():
        stage = entry.get("do", entry)
        script = Path("stages", stage["cmd"].split()[2].removeprefix("stages.") + ".py")
        if name == "evaluate-ensemble":
            continue  # same script as evaluate, whose contract has the template's words
        contract = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        data = [path for path in stage["deps"] if not path.startswith(("src/", "stages/"))]
        outputs = [path if isinstance(path, str) else next(iter(path)) for path in [*stage.get("outs", []), *stage.get("metrics", [])]]
        for path in [*data, *outputs]:
            shown = re.sub(r"models/train/\d+|data/evaluate/[\w${}.\[\]-]+(?=/)", _starred, path) if name in ("report", "distill") else path
            assert re.search(rf"(^|\s){re.escape(shown)}(\s|$)", contract), f"{script}: {shown} is not in the contract"


def _starred(match: re.Match[str]) -> str:
    return "models/train/*" if match[0].startswith("models") else "data/evaluate/*"


def test_a_command_is_one_simple_command_with_nothing_pasted_in_but_names_that_dvc_yaml_itself_lists() -> None:
    """DVC pastes a value into the command as it is, and a shell runs it: nothing of params.yaml may come in, by whatever way."""
    assert not {"vars", "params"} & set(PIPELINE)
    for entry in PIPELINE["stages"].values():
        stage = entry.get("do", entry)
        assert isinstance(stage["cmd"], str) and "vars" not in stage and "wdir" not in stage
        assert not re.search(r"[;&|<>`'\"\\\n]|\$\(", stage["cmd"])
        listed = {**entry.get("matrix", {}), **({"foreach": entry["foreach"]} if "foreach" in entry else {})}
        names = {"foreach": {"key", "item"}}
        pasted = {name for axis in listed for name in names.get(axis, {f"item.{axis}"})}
        assert set(re.findall(r"\$\{(.*?)\}", json.dumps(entry))) <= pasted
        for values in listed.values():
            assert isinstance(values, dict | list), "a list out of params.yaml"
            words = [*values, *values.values()] if isinstance(values, dict) else values
            assert all(re.fullmatch(r"[\w./-]+", str(word), re.ASCII) and not str(word).startswith("-") for word in words)


def test_the_test_set_is_read_by_nothing_that_is_fitted() -> None:
    """Only stages that evaluate read it, and nothing but the report and the record reads what they write."""
    inputs, outputs = (
        {name: files(stage, kinds) for name, stage in PIPELINE["stages"].items()} for kinds in (("deps",), ("outs", "metrics"))
    )
    readers = {name for name, paths in inputs.items() if "data/split/test.parquet" in paths}
    assert readers == {"evaluate", "evaluate-ensemble", "evaluate-exported", "evaluate-baselines", "report"}
    scores = set().union(*(outputs[name] for name in readers - {"report"}))
    assert {name for name, paths in inputs.items() if paths & scores} == {"report"}


def files(stage: dict[str, Any], kinds: tuple[str, ...]) -> set[str]:
    """The paths that a stage of dvc.yaml declares under these kinds."""
    stage = stage.get("do", stage)
    return {path if isinstance(path, str) else next(iter(path)) for kind in kinds for path in stage.get(kind, [])}


def test_every_file_that_a_stage_reads_is_on_record_so_that_the_runner_can_check_it() -> None:
    """Outputs of stages are in dvc.lock; everything else is code, settings, or the user's raw data."""
    outputs = set()
    for entry in PIPELINE["stages"].values():
        stage = entry.get("do", entry)
        outputs |= {
            _pattern(path if isinstance(path, str) else next(iter(path))) for path in [*stage.get("outs", []), *stage.get("metrics", [])]
        }
    for name, entry in PIPELINE["stages"].items():
        read = {_pattern(path) for path in entry.get("do", entry)["deps"] if not path.startswith(("src/", "stages/"))}
        templated = {path for path in read if path == "*"}  # the weights of `evaluate`, named in its foreach
        assert read - templated <= outputs | {"data/raw", "params.yaml", "recipes/default.yaml"}, name


def test_a_stage_takes_its_params_from_the_completed_settings() -> None:
    """From params.yaml, a setting that the user left out would be an error of DVC."""
    for name, entry in PIPELINE["stages"].items():
        params = entry.get("do", entry).get("params", [])
        assert all(isinstance(param, dict) and set(param) <= {"data/preflight/settings.json", "packages.yaml"} for param in params), name


def _pattern(path: str) -> str:
    """Of a path, with a star for what a matrix or a foreach fills in, and for the folds that a list names one by one."""
    path = re.sub(r"data/evaluate/[\w-]+(?=/)|models/train/\d+(?=/)", _starred, path)
    return re.sub(r"(fold-)?\$\{[^}]*\}", "*", path)


def test_an_output_that_git_tracks_survives_a_stage_that_fails() -> None:
    """DVC removes every other output before it starts the stage."""
    for name, entry in PIPELINE["stages"].items():
        stage = entry.get("do", entry)
        for output in [*stage.get("outs", []), *stage.get("metrics", [])]:
            options = next(iter(output.values())) if isinstance(output, dict) else {}
            assert options.get("cache", True) or options.get("persist"), f"{name}: {output}"


def test_every_command_ends_as_all_programs_of_the_project_do() -> None:
    from textmill.commands import cli, cli_models, running

    text = "\n".join(map(inspect.getsource, (cli, cli_models, running)))
    assert set(cli.textmill.commands) == {name for names in cli._GROUPS.values() for name in names}, "a command that --help does not list"
    for name, subcommand in cli.textmill.commands.items():
        body = inspect.getsource(subcommand.callback)  # type: ignore[arg-type]
        assert re.search(r"^    run_command\(", body, re.MULTILINE) and inspect.getdoc(subcommand.callback), name
    assert not re.search(
        r"^(import|from) (?!__future__|sys|collections|contextlib|pathlib|typing|click|textmill\.base|textmill\.commands\.(running|cli_models) )",
        text,
        re.MULTILINE,
    ), "--help must be quick"


def test_a_stage_says_how_threads_wait_before_anything_with_threads_is_loaded() -> None:
    program = "import sys, stages, textmill.pipeline.runner, os; print(os.environ['GOMP_SPINCOUNT'], {'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "1000 set()\n"


def test_lists_of_folds_are_checked_and_right() -> None:
    text = Path("dvc.yaml").read_text(encoding="utf-8")
    check_fold_lists(text, 3)
    for changed, folds in (
        (text, 4),
        (text.replace("    - models/train/1/history.csv\n", "", 1), 3),
        (text.replace("    - models/train/1/model.safetensors\n", "", 1), 3),
        (text.replace("      fold: [0, 1, 2]\n", "      fold: [0, 1]\n"), 3),
        (text.replace("      fold-2: models/train/2/model.safetensors\n", ""), 3),
        (re.sub(r"(stages\.evaluate ensemble .*?/1/model\.safetensors) \S+", r"\1", text), 3),
    ):
        with pytest.raises(UserError, match=r"is listed for folds"):
            check_fold_lists(changed, folds)


def test_lists_of_folds_are_rewritten_and_nothing_else() -> None:
    text = Path("dvc.yaml").read_text(encoding="utf-8")
    for number in (1, 2, 12):
        changed = with_folds(text, list(range(number)))
        check_fold_lists(changed, number)
        assert with_folds(changed, [0, 1, 2]) == text, "there and back"
        loaded = YAML(typ="safe").load(changed)
        assert loaded["stages"]["distill"]["deps"].count("data/tokenizer/tokenizer.model") == 1
        assert [line for line in changed.split("\n") if "#" in line] == [line for line in text.split("\n") if "#" in line]
        assert len(loaded["stages"]["evaluate"]["foreach"]) == number + 2


def test_pins_of_packages_agree_with_the_constraints() -> None:
    pins = YAML(typ="safe").load(Path("packages.yaml").read_text(encoding="utf-8"))["packages"]
    lines = Path("constraints.txt").read_text(encoding="utf-8").lower().split("\n")
    for name, version in pins.items():
        assert f"{name}=={version}" in lines
    assert not [line for line in lines if line and not re.fullmatch(r"[a-z0-9_.-]+==[a-z0-9.!+-]+", line)], "a line with a path or a host"
    assert not [line for line in lines if "+" in line], "a local build"


def test_every_pinned_package_is_locked_with_hashes() -> None:
    """`make lock` after a change of pyproject.toml or constraints.txt."""
    text = Path("requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", "").split("\n") if entry]
    pattern = r"(\S+)==(\S+)( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+"
    matched = {entry.split()[0]: re.fullmatch(pattern, entry.rstrip()) for entry in entries}
    assert not [name for name, match in matched.items() if match is None], "an entry without a hash, or with an address"
    locked = {(_canonical(match[1]), match[2]) for match in matched.values() if match}
    pinned = {tuple(line.split("==")) for line in Path("constraints.txt").read_text(encoding="utf-8").split("\n") if line}
    assert {(_canonical(name), version) for name, version in pinned} <= locked
    required = re.findall(r'^    "([A-Za-z0-9._-]+)', Path("pyproject.toml").read_text(encoding="utf-8").split("[tool.")[0], flags=re.M)
    unlocked = {"textmill", "lingua-language-detector", "opusfilter", "transformers"}  # itself, and the extra benchmarks
    assert {_canonical(name) for name in required} - unlocked <= {name for name, _ in locked}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_figures_of_the_readmes_are_those_of_the_locked_run() -> None:
    """They have one decimal, the file has two: a figure is right if no nearer one has one decimal."""
    summary = json.loads(Path("metrics/summary.json").read_text(encoding="utf-8"))
    systems = [summary["systems"][name] for name in ("translation_memory", "ensemble", "student", "pruned", "exported")]
    for name in ("README.md", "README.zh-CN.md"):
        text = Path(name).read_text(encoding="utf-8")
        assert f" {summary['rows']['test']:,} " in text, name
        rows = text.partition("| chrF | BLEU |")[2].split("\n")[2 : 2 + len(systems)]
        for row, system in zip(rows, systems, strict=True):
            figures = [float(figure) for figure in re.findall(r"(?<=\| )\d+\.\d(?= )", row)]
            wanted = [system[key] for key in ("chrf", "bleu", "megabytes") if key in system]
            assert figures == pytest.approx(wanted, abs=0.0551), (name, row)


def test_no_pickle_and_no_unsafe_loading() -> None:
    for path in [*SOURCES, *STAGES]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"^\s*(import|from) (pickle|joblib|dill|cloudpickle)|torch\.(load|save)\(|allow_pickle=True|\bsplitlines\(", text, re.MULTILINE
        ), path


def test_no_model_is_loaded_through_mlflow() -> None:
    """A model in MLflow names code that loading it runs: the project takes files from there, and checks their hashes."""
    for path in [*SOURCES, *STAGES]:
        text = path.read_text(encoding="utf-8")
        if "load_" not in text:  # parsing takes most of the time
            continue
        tree = ast.parse(text)
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("load_")}
        used |= {name for name in imports(path) if name.startswith("mlflow.")}
        assert not [name for name in used if re.search(r"mlflow.*\.load_\w+$|\.load_pyfunc$", name)], path
        assert {name for name in used if name.endswith(".load_model")} <= {"fasttext.load_model", "textmill.model.weights.load_model"}, path


def test_no_corpus_text_is_written_as_csv() -> None:
    """A table program runs `=cmd()` in a cell: the learning curves, which hold numbers alone, are the only CSV files."""
    for path in [*SOURCES, *STAGES]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"csv\.(DictW|w)riter|to_csv\(|write_csv", text), path
    from dataclasses import fields

    from textmill.train.run import HistoryRow

    assert {field.type for field in fields(HistoryRow)} <= {"int", "float", "float | None"}


def test_the_knobs_of_cleaning_are_the_tables_of_the_room() -> None:
    from textmill.clean.privacy import KINDS
    from textmill.clean.repairs import REPAIRS
    from textmill.clean.settings import PrivacySettings, RepairSettings

    assert list(RepairSettings.__dataclass_fields__) == list(REPAIRS)
    assert set(PrivacySettings.__dataclass_fields__) == set(KINDS)


def test_the_choices_of_the_settings_are_the_tables_of_the_rooms() -> None:
    import typing

    from textmill.collect.settings import SourceSettings
    from textmill.collect.sources import READERS
    from textmill.model.factory import ARCHITECTURES
    from textmill.model.layers import ACTIVATIONS, NORMS
    from textmill.model.positions import POSITIONS
    from textmill.model.settings import ModelSettings

    for settings, field, table in (
        (SourceSettings, "format", READERS),
        (ModelSettings, "architecture", ARCHITECTURES),
        (ModelSettings, "activation", ACTIVATIONS),
        (ModelSettings, "norm", NORMS),
        (ModelSettings, "positions", POSITIONS),
    ):
        assert set(typing.get_args(typing.get_type_hints(settings)[field])) == set(table)


def test_the_metrics_and_baselines_of_every_kind_exist_and_have_names_in_the_report() -> None:
    from textmill.evaluate.baselines import BASELINES
    from textmill.evaluate.metrics import METRICS
    from textmill.report.words import tables
    from textmill.tasks.kinds import KINDS

    for kind in KINDS.values():
        assert set(kind.metrics) <= set(METRICS) and set(kind.baselines) <= set(BASELINES), kind.name
        assert set(kind.compared) <= set(kind.metrics) and kind.compared[:1] in ((), kind.metrics[:1]), kind.name
        for words in tables().values():
            assert {f"system_{name}" for name in kind.baselines} | {f"metric_{name}" for name in kind.metrics} <= set(words)


def test_every_setting_is_explained_and_the_page_of_settings_is_up_to_date() -> None:
    from textmill.commands.settings import chosen, page

    assert not [setting.key for setting in chosen("") if not setting.meaning]
    assert Path("docs/settings.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_no_value_of_params_yaml_reaches_a_command(tmp_path: Path) -> None:
    """DVC's own reading of dvc.yaml, with a command for the shell in place of every value of params.yaml (`dvc exp run -S` writes there)."""
    from dvc.repo import Repo

    commands = []
    for name in ("honest", "injected"):
        folder = tmp_path / name
        shutil.copytree(".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
        params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(params if name == "honest" else _injected(params), file)
        for each in ("dvc.yaml", "packages.yaml"):
            shutil.copy(each, folder)
        with Repo(str(folder), config={"core": {"no_scm": True, "site_cache_dir": str(folder / "site")}}) as repo:
            commands.append({stage.name: stage.cmd for stage in repo.index.stages})
    assert commands[0] == commands[1] and len(commands[0]) > 20


def _injected(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _injected(each) for name, each in value.items()}
    return [_injected(each) for each in value] if isinstance(value, list) else "0; touch PWNED #"


def test_files_and_functions_stay_small() -> None:
    """At most 350 lines per file, and 7 parameters per function, without self and the context of an autograd function."""
    long = [path.as_posix() for path in [*SOURCES, *STAGES] if len(path.read_text(encoding="utf-8").split("\n")) > 351]
    many = [
        f"{path}:{node.lineno}"
        for path in SOURCES  # the settings that a stage's main names are given to it
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        for names in [[each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]]
        if len([name for name in names if name not in ("self", "cls", "ctx")]) > 7
    ]
    assert (long, many) == ([], [])
    assert len(Path("dvc.yaml").read_text(encoding="utf-8").split("\n")) <= 550
    assert all(len(path.read_text(encoding="utf-8").split("\n")) <= 61 for path in Path("recipes").glob("*.yaml") if path.stem != "default")


def test_no_code_outside_tasks_asks_which_kind_a_task_is() -> None:
    from textmill.tasks.kinds import KINDS

    asks = re.compile(rf"""kind\s*(==|!=|in|not in)\s*[("'\[{{]+({"|".join(KINDS)})\b""")
    assert asks.search('if task.kind == "translation":')
    others = [path for path in [*SOURCES, *STAGES, *Path("src").rglob("*.jinja")] if "tasks" not in path.parts]
    assert [path.as_posix() for path in others if asks.search(path.read_text(encoding="utf-8"))] == []


def test_a_filter_its_setting_and_its_reason_have_one_name() -> None:
    from textmill.clean.filters import FILTERS
    from textmill.clean.settings import FilterSettings

    settings = set(FilterSettings.__dataclass_fields__)
    others = {"empty": None, "too_long": "max_characters", "swapped": "scripts", "wrong_script": "scripts"}  # no threshold; one for two
    assert {name for name in FILTERS if name not in settings} == set(others)
    assert {setting for setting in others.values() if setting} <= settings
