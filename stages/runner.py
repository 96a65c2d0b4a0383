"""What all stage scripts share: settings in, one call of main, one line for a user's mistake.

Run by DVC, which sets DVC_STAGE and DVC_ROOT. `main` says what it needs by the names and types of its arguments: a
settings class is built from the section of params.yaml with the argument's name (which dvc.yaml must declare),
`seed` is the number of that name, `fingerprint` is a hash of all inputs of the stage (code, data, params), `log` is the
stage's MLflow run (or one that keeps nothing), and the rest is what the command line gives, in order.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable
from importlib import metadata
from typing import Any

import dvc.api

from stages.inputs import stage_inputs
from stages.site_cache import require_private_site_cache
from textmill import tracking
from textmill.environment import environment, record_environment, say_if_new
from textmill.errors import UserError
from textmill.lifetime import end_with_parent
from textmill.redaction import redacted
from textmill.settings.schema import build


class Terminated(BaseException):
    """SIGTERM, as an exception: open files are cleaned up and the MLflow run is closed as KILLED."""


def run_stage(main: Callable[..., None]) -> None:
    """Run a stage's `main` and exit: 0 done, 2 a user's mistake (one line on stderr), 143 ended by SIGTERM."""
    end_with_parent(signal.SIGKILL)  # a stage that outlives a killed dvc would overwrite the result of the next run
    if os.getppid() == 1 and "DVC_STAGE" in os.environ:  # dvc died before the call
        os._exit(137)
    signal.signal(signal.SIGTERM, _terminate)
    sys.excepthook = _print_redacted
    stage = os.environ.get("DVC_STAGE")
    try:
        if stage is None:
            raise UserError(f"{sys.argv[0]}: is run by DVC. Use `dvc repro -s STAGE`.")
        require_private_site_cache()  # before DVC is asked anything: it reads what lies there
        declared = dvc.api.params_show(stages=stage)
        _check_packages(declared.pop("packages", {}))
        arguments = _settings_arguments(main, declared)
        inputs, here = stage_inputs(stage), environment()
        say_if_new(stage, here)
        with tracking.stage_run(stage, declared, inputs.files, inputs.key, here) as log:
            offered = {**arguments, "fingerprint": inputs.key, "log": log}
            main(*sys.argv[1:], **{name: offered[name] for name in inspect.signature(main).parameters if name in offered})
        if inputs.has_outputs:
            record_environment(stage, here)
    except UserError as error:
        print(f"{stage}: {redacted(error)}", file=sys.stderr)
        sys.exit(2)
    except Terminated:
        sys.exit(128 + signal.SIGTERM)


def _settings_arguments(main: Callable[..., None], declared: dict[str, Any]) -> dict[str, Any]:
    annotations = typing.get_type_hints(main)
    arguments: dict[str, Any] = {}
    for name, kind in annotations.items():
        if dataclasses.is_dataclass(kind):
            arguments[name] = build(typing.cast(type, kind), declared[name], name)
        elif name == "seed":
            arguments[name] = declared[name]
    return arguments


def _check_packages(pins: dict[str, str]) -> None:
    """Compare what is installed with packages.yaml: DVC knows the pinned versions, so they must be the real ones."""
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


def _print_redacted(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """In place of Python's own traceback, which shows an address with its password."""
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _terminate(*_: object) -> None:
    raise Terminated
