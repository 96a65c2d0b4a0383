"""Check params.yaml as a whole, that DVC tracks every source, and that dvc.yaml lists every fold, before anything else runs.

in   params.yaml                        all sections, including those of stages that run hours later
     recipes/default.yaml
out  data/preflight/settings.json       params.yaml with all defaults and inherited settings. The other stages take their params from it
     data/preflight/default.json        the same of the default recipe

dvc.yaml is also read. DVC does not allow it as a dependency, but a change of split.folds in params.yaml reruns this stage.
"""

from __future__ import annotations

from pathlib import Path

from textmill.back_translate.settings import BackTranslateSettings
from textmill.base import paths
from textmill.base.files import write_json
from textmill.collect.settings import CollectSettings
from textmill.pipeline.fold_lists import check_fold_lists
from textmill.pipeline.runner import run_stage
from textmill.pipeline.watched import require_watched
from textmill.settings.params_file import read_params
from textmill.settings.schema import build
from textmill.settings.tree import check_settings, limits, with_defaults


def main() -> None:
    params = read_params(Path("params.yaml"))
    check_settings(params)
    settings = with_defaults(params)
    require_watched("collect", build(CollectSettings, settings["collect"], "collect").sources)
    require_watched("back_translate", build(BackTranslateSettings, settings["back_translate"], "back_translate").sources)
    check_fold_lists(Path("dvc.yaml").read_text(encoding="utf-8"), len(settings["split"]["folds"]))
    print(limits(settings), end="", flush=True)
    write_json(paths.SETTINGS, settings)
    write_json(paths.DEFAULT_SETTINGS, with_defaults(read_params(Path("recipes/default.yaml"))))


if __name__ == "__main__":
    run_stage(main)
