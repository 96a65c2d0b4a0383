"""Check params.yaml as a whole, that DVC tracks every source, and that dvc.yaml lists every fold, before anything else runs.

in   params.yaml                        all sections, including those of stages that run hours later
out  data/preflight/settings.json       the names of the sections. It is the same for all valid settings, so nothing reruns

dvc.yaml is also read. DVC does not allow it as a dependency, but a change of split.folds in params.yaml reruns this stage.
"""

from __future__ import annotations

from pathlib import Path

import dvc.api

from textmill.back_translate.settings import BackTranslateSettings
from textmill.base import paths
from textmill.base.files import write_json
from textmill.collect.settings import CollectSettings
from textmill.pipeline.fold_lists import check_fold_lists
from textmill.pipeline.runner import run_stage
from textmill.pipeline.watched import require_watched
from textmill.settings.schema import build, completed
from textmill.settings.tree import SECTIONS, check_settings, limits


def main() -> None:
    params = dvc.api.params_show("params.yaml")
    check_settings(params)
    require_watched("collect", build(CollectSettings, params["collect"], "collect").sources)
    require_watched("back_translate", build(BackTranslateSettings, completed(params)["back_translate"], "back_translate").sources)
    check_fold_lists(Path("dvc.yaml").read_text(encoding="utf-8"), len(params["split"]["folds"]))
    print(limits(params), end="", flush=True)
    write_json(paths.PREFLIGHT, sorted(SECTIONS))


if __name__ == "__main__":
    run_stage(main)
