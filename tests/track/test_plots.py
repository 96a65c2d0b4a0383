from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from textmill.base import paths
from textmill.base.files import write_json, write_text
from textmill.track.plots import write_plots


def test_scores_of_each_task_and_learning_curves_become_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_plots(tmp_path) == [], "nothing is there yet"
    scores = {"student": {"chrf": {"score": 30.0, "low": 28.0, "high": 32.0}}, "copy": {}}
    write_json(paths.STATISTICS, {"tasks": {"translate back": {"systems": scores}, "ui": {"systems": scores}}})
    write_json(paths.SUMMARY, {"tasks": {"translate back": {"metric": "chrf"}, "ui": {"metric": "chrf"}}})
    write_text(paths.fold_history(0), "step,train_loss,validation_loss\n10,5.0,4.9\n20,4.0,\n")
    write_text(paths.STUDENT_HISTORY, "step,train_loss,validation_loss\n10,3.0,\n")
    written = write_plots(tmp_path)
    assert [path.name for path in written] == ["scores-translate-back.png", "scores-ui.png", "learning-curves.png"]
    for path in written:
        picture = imread(path)
        assert picture.shape[1] == 770 and (picture != picture[0, 0]).any()
