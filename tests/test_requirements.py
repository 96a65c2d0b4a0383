"""The packages that pyproject.toml declares per extra are those that the code imports."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

from textmill.commands.cli import textmill
from textmill.commands.dependencies import PACKAGES, closure

# Import name to distribution, where they differ.
DISTRIBUTIONS = PACKAGES | {"dvc_data": "dvc-data", "lingua": "lingua-language-detector", "ruamel": "ruamel.yaml", "yaml": "pyyaml"}
# Run as programs, loaded by others, or read by mypy only.
TOOLS = {"mypy", "pandas-stubs", "pytest-xdist", "ruff", "types-psutil", "types-tqdm"}
NOT_IMPORTED = {"lingua-language-detector"}  # opusfilter loads it for a filter of the benchmark
TEXT_MODEL = Path("src/textmill/serving/text_model.py")
COMMANDS = [Path("src/textmill/commands", name) for name in ("cli.py", "cli_models.py", "running.py")]


def declared() -> dict[str, set[str]]:
    """Names of packages, without versions, per extra; under "" those of the plain install."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {_name(requirement) for requirement in requirements} for extra, requirements in lists.items()}


def _name(requirement: str) -> str:
    ends = [requirement.find(sign) for sign in "<>=!~; " if sign in requirement]
    return requirement[: min(ends, default=len(requirement))].lower()


def imported(*folders: str) -> set[str]:
    """Distributions of the third-party modules that the Python files below the folders import, also inside functions."""
    paths = [path for folder in folders for path in Path(folder).rglob("*.py")]
    return _distributions({module for path in paths for module in _modules(path)})


def _modules(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return modules | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}


def _distributions(modules: set[str]) -> set[str]:
    ours = {path.stem for folder in ("tests", "benchmarks") for path in Path(folder).rglob("*.py")} | {"textmill", "stages"}
    tops = {module.partition(".")[0] for module in modules} - ours - sys.stdlib_module_names
    return {DISTRIBUTIONS.get(top, top).lower() for top in tops}


def test_the_plain_install_has_what_the_exported_model_and_the_command_import() -> None:
    files, _ = closure(TEXT_MODEL)
    needed = _distributions({module for path in (*map(Path, files), *COMMANDS) for module in _modules(path)})
    assert needed == declared()[""]


def test_the_extra_train_has_what_the_package_and_the_stages_import_and_nothing_else() -> None:
    extras = declared()
    assert imported("src", "stages") == extras[""] | extras["train"]
    assert not extras[""] & extras["train"], "declared twice"


def test_the_extra_dev_has_what_the_tests_import_in_addition_and_the_tools() -> None:
    extras = declared()
    added = imported("tests") - extras[""] - extras["train"] - extras["benchmarks"]
    assert extras["dev"] == added | TOOLS | {"textmill[train]"}


def test_the_extra_benchmarks_has_what_the_benchmarks_import_in_addition() -> None:
    extras = declared()
    added = imported("benchmarks") - extras[""] - extras["train"]
    assert extras["benchmarks"] == added | NOT_IMPORTED | {"textmill[train]"}


def test_every_declared_package_is_pinned() -> None:
    extras = declared()
    pins = {line.split("==")[0].lower() for line in Path("constraints.txt").read_text(encoding="utf-8").split("\n")}
    assert extras[""] | extras["train"] | extras["dev"] - {"textmill[train]"} <= pins
    assert set(YAML(typ="safe").load(Path("packages.yaml").read_text(encoding="utf-8"))["packages"]) <= extras[""] | extras["train"]


# As if only the plain install were there: `pip install textmill` brings these, some by way of CTranslate2.
_PLAIN_INSTALL = """
import sys
class Plain:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names | {"textmill", "click", "ctranslate2", "sentencepiece", "numpy", "yaml"}:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
sys.meta_path.insert(0, Plain())
"""


def _plain(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", _PLAIN_INSTALL + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plain_install_loads_the_model_and_shows_the_help_of_every_command() -> None:
    program = (
        "import textmill.serving.text_model\n"
        "from click.testing import CliRunner; from textmill.commands.cli import textmill\n"
        "for name in [None, *textmill.commands]:\n"
        "    print(CliRunner().invoke(textmill, [*([name] if name else []), '--help']).exit_code)\n"
    )
    assert _plain(program).split() == ["0"] * (1 + len(textmill.commands))


def test_a_command_that_needs_an_extra_says_which_in_one_line() -> None:
    program = (
        "from click.testing import CliRunner; from textmill.commands.cli import textmill\n"
        "for name in textmill.commands:\n"
        "    done = CliRunner().invoke(textmill, [name, 'a', 'b'] if name == 'evaluate' else [name])\n"
        "    print(name, done.exit_code, repr(done.output))\n"
    )
    for line in _plain(program).rstrip().split("\n"):
        name, code, said = line.split(" ", 2)
        if name in ("run", "chat"):  # need no extra, only their argument
            assert code == "2" and "Missing argument 'MODEL'" in said.replace("\\", ""), line
            continue
        extra = "dev" if name == "verify" else "train"
        assert code == "2" and said[1:].startswith(f"{name}: the module "), line
        assert f"Install textmill[{extra}]: run `pip install -e '.[{extra}]' -c constraints.txt`" in said and said.count("\\n") == 1, line
