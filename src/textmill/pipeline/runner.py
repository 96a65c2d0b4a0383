"""Run a stage script: read the settings, call `main`, and print a user's mistake as one line.

DVC runs the script, and sets DVC_STAGE and DVC_ROOT. The names and types of the arguments of `main` say what it needs:

- a settings class: built from the section of the completed settings (data/preflight/settings.json) with the name of the argument;
  dvc.yaml must declare the section
- a mapping of names to a settings class (`tasks`): the same, one object per name
- `seed`: the number there
- `fingerprint`: a hash of all inputs of the stage (code, data, params)
- `log`: the MLflow run of the stage, or an object that logs nothing
- all others: the arguments of the command line, in order
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import typing
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from textmill.base.command import one_line_errors, redact_tracebacks
from textmill.base.errors import UserError
from textmill.base.lifetime import raise_when_stopped
from textmill.pipeline.inputs import stage_inputs
from textmill.pipeline.site_cache import require_private_site_cache
from textmill.settings.schema import build, converted
from textmill.tracking.environment import environment, record_environment, say_if_new
from textmill.tracking.runs import stage_run


def run_stage(main: Callable[..., None]) -> None:
    """Run `main` of a stage and exit.

    Exit codes: 0 is success, 2 is an error that the user can fix (one line on stderr), 128 + N means stopped by signal N.
    """
    stage = os.environ.get("DVC_STAGE") or None
    with one_line_errors(stage or Path(sys.argv[0]).stem):
        raise_when_stopped()
        redact_tracebacks()
        if stage is None:
            raise UserError("stages are run by DVC. Use `dvc repro -s STAGE`; `dvc stage list` shows the names.")
        require_private_site_cache()  # before any use of DVC, which loads pickled values from there
        inputs, here = stage_inputs(stage), environment()
        declared = dict(inputs.params)
        _check_packages(declared.pop("packages", {}))
        arguments = _settings_arguments(main, declared)
        say_if_new(stage, here)
        with stage_run(stage, declared, inputs.files, inputs.key, here) as log:
            offered = {**arguments, "fingerprint": inputs.key, "log": log}
            main(*sys.argv[1:], **{name: offered[name] for name in inspect.signature(main).parameters if name in offered})
        if inputs.has_outputs:
            record_environment(stage, here)


def _settings_arguments(main: Callable[..., None], declared: dict[str, Any]) -> dict[str, Any]:
    annotations = typing.get_type_hints(main)
    arguments: dict[str, Any] = {}
    for name, kind in annotations.items():
        if dataclasses.is_dataclass(kind):
            arguments[name] = build(typing.cast(type, kind), declared[name], name)
        elif typing.get_origin(kind) is dict:
            arguments[name] = converted(declared[name], kind, name)
        elif name == "seed":
            arguments[name] = declared[name]
    return arguments


def _check_packages(pins: dict[str, str]) -> None:
    """Raise UserError if an installed version differs from packages.yaml, because dvc.lock records the pinned versions."""
    for name, pinned in pins.items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if installed != pinned:
            raise UserError(
                f"packages.yaml: {name} is pinned to {pinned}, but {installed} is installed."
                " Run `make setup`, or change the pin there and in constraints.txt."
            )
