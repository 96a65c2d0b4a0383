"""The hardware of a measurement."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """Return the model name of the CPU."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").split("\n") if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
