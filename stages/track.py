"""Complete the MLflow run of this rebuild; has no output, so it runs whenever a result moved.

in   metrics/summary.json             headline metrics
     reports/report.html
     models/export/int8/model.bin     registered as a version of the model, once for the same content
"""

from __future__ import annotations

from pathlib import Path

from textmill.export.settings import NameSettings
from textmill.pipeline.locked import locked_stages
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings, model_name
from textmill.track.publication import publish_rebuild


def main(export: NameSettings, tasks: dict[str, TaskSettings]) -> None:
    lock_file = Path("dvc.lock")
    counts = publish_rebuild(locked_stages(lock_file, leave_out="track"), lock_file, model_name(export.name, tasks))
    print(f"track: {counts}" if counts else "track: nothing published")


if __name__ == "__main__":
    run_stage(main)
