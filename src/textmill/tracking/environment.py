"""What changes arithmetic besides code, data, params and packages: the processor, Python, and variables that libraries read.

None of it is an input that DVC could watch, so the same stage can give other bytes on another machine, and DVC's run cache brings
back what another machine made. It is recorded in metrics/environment.json, which git tracks and DVC does not: dvc.lock stays the
same wherever the results are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import read_json, write_json

# Which kernels are chosen, how many threads add up, and what a product is rounded to.
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CT2_FORCE_CPU_ISA",
    "CT2_USE_EXPERIMENTAL_PACKED_GEMM",
    "CT2_USE_MKL",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
_FEATURES = re.compile(r"\b(?:sse4_\d|avx\w*|amx_\w+|fma\d?|f16c|sve\w*|asimd\w*|bf16|i8mm)\b")


def environment() -> dict[str, str]:
    """What results depend on here, by name; a variable that is not set, or hardware that is not there, has no entry. Loads no library."""
    found = {
        "python": platform.python_version(),
        "torch": _installed("torch"),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "cpu": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cpu_features": " ".join(sorted(set(_FEATURES.findall(_field(Path("/proc/cpuinfo"), "flags|Features"))))),
        "gpu": ", ".join(sorted(_field(path, "Model") for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))),
        "gpu_driver": _gpu_driver(),
    }
    return {name: value for name, value in found.items() if value} | {name: os.environ[name] for name in VARIABLES if name in os.environ}


def say_if_new(stage: str, here: Mapping[str, str]) -> None:
    """Print one line if results were recorded, and none of them in an environment like this one.

    Raises UserError if the record cannot be read.
    """
    record = _read()
    known, stages = record["environments"], record["stages"]
    if not known or _digest(here) in known:
        return
    there = known[stages.get(stage) or Counter(stages.values()).most_common(1)[0][0]]
    print(
        f"{stage}: {paths.ENVIRONMENT} says that results were made elsewhere: {'; '.join(differences(there, here))}."
        " What is made here may differ in the last digits, and whatever follows from it.",
        file=sys.stderr,
        flush=True,
    )


def record_environment(stage: str, here: Mapping[str, str]) -> None:
    """Note that the outputs of `stage` were made in this environment."""
    with _locked():
        record = _read()
        stages = record["stages"] | {stage: _digest(here)}
        known = record["environments"] | {_digest(here): dict(here)}
        changed = {"environments": {name: known[name] for name in sorted(set(stages.values()))}, "stages": stages}
        if changed != record:
            write_json(paths.ENVIRONMENT, changed)


def recorded_environment(stage: str) -> dict[str, str]:
    """Where the outputs of `stage` were made, as far as that is known."""
    record = _read()
    found: dict[str, str] = record["environments"].get(record["stages"].get(stage), {})
    return found


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """`name: value there, here value`, for each name with two values; of the processor's features only those that one side lacks."""
    told = []
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name, ""), here.get(name, "")
        if name == "cpu_features":
            ours, theirs = set(new.split()), set(old.split())
            old, new = " ".join(sorted(theirs - ours)), " ".join(sorted(ours - theirs))
        if old != new:
            told.append(f"{name} {old or 'none'}, here {new or 'none'}")
    return told


def _read() -> dict[str, Any]:
    if not paths.ENVIRONMENT.is_file():
        return {"environments": {}, "stages": {}}
    record: dict[str, Any] = read_json(paths.ENVIRONMENT)
    if not isinstance(record, dict) or record.keys() != {"environments", "stages"}:
        raise UserError(f"{paths.ENVIRONMENT}: not a record of environments. Remove it; the next stage starts a new one.")
    return record


@contextmanager
def _locked() -> Iterator[None]:
    """Folds that train side by side end side by side."""
    paths.ENVIRONMENT.parent.mkdir(exist_ok=True)
    folder = os.open(paths.ENVIRONMENT.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _digest(here: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(here), sort_keys=True).encode("utf-8")).hexdigest()[:12]


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _field(path: Path, name: str) -> str:
    """The first `name: value` of a file of /proc."""
    try:
        found = re.search(rf"^(?:{name})[ \t]*:[ \t]*(.*)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _gpu_driver() -> str:
    try:
        found = re.search(r"\d+\.\d+[\d.]*", Path("/proc/driver/nvidia/version").read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[0] if found else ""
