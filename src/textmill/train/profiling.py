"""Profile a few training steps with torch.profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from textmill.base.files import write_text

TRACE, TABLE = "trace.json", "operators.txt"
_WAIT, _WARM_UP, _STEPS = 5, 3, 5
_ROWS = 30


@contextmanager
def profiled_steps(folder: Path | None) -> Iterator[Callable[[], None]]:
    """Yield a function to call after every step, which records steps 9 to 13 in `folder`. The training result does not change.

    folder: gets a trace for Perfetto or chrome://tracing, and a table of the slowest operators. None records nothing.
    """
    if folder is None:
        yield lambda: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])

    def write(recorded: profile) -> None:
        key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        recorded.export_chrome_trace(str(folder / TRACE))
        write_text(folder / TABLE, recorded.key_averages().table(sort_by=key, row_limit=_ROWS))

    planned = schedule(wait=_WAIT, warmup=_WARM_UP, active=_STEPS, repeat=1)
    with profile(activities=activities, schedule=planned, on_trace_ready=write) as profiler:
        yield profiler.step
