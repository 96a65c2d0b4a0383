"""Complete the MLflow run of this rebuild; has no output, so it runs whenever a result moved.

in   metrics/summary.json             headline metrics
     reports/report.html
     models/export/int8/model.bin     registered as a version of the model, once for the same content
"""

from __future__ import annotations

from pathlib import Path

from stages.locked import locked_stages
from stages.runner import run_stage
from textmill.publication import publish_rebuild
from textmill.settings.inference import NameSettings


def main(export: NameSettings) -> None:
    lock_file = Path("dvc.lock")
    counts = publish_rebuild(locked_stages(lock_file, leave_out="track"), lock_file, export.name)
    print(f"track: {counts}" if counts else "track: nothing published")


if __name__ == "__main__":
    run_stage(main)
