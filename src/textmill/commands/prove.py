"""Run stages again in a clone of the last commit, and compare their outputs with dvc.lock.

Hashes alone do not prove a result: `dvc commit -f` records whatever is in the workspace, even a made-up score of 99.9.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from dvc.repo import Repo

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.commands.asking import DVC, output_of
from textmill.commands.outputs import Output, name_of, recorded_outputs
from textmill.commands.trial_workspace import bring_initial_weights, environment, read_params
from textmill.pipeline.inputs import content_md5

_SCORES = ("evaluate", "evaluate-ensemble", "evaluate-exported", "evaluate-baselines", "report")


def unproved(wanted: Sequence[str]) -> Iterator[str]:
    """Yield a line for each output whose bytes after a rerun differ from dvc.lock.

    wanted: names of stages, `scores` for all scores and the report, or `all`.
    The project is not changed, except that missing data is fetched into DVC's cache.
    Raises UserError if a stage is not known or fails.
    """
    with tempfile.TemporaryDirectory(prefix="textmill-prove-") as temporary:
        place = Path(temporary) / "clone"
        output_of("git", "clone", "-q", str(Path.cwd()), str(place))
        stages = _stages(place, wanted)
        with Repo(str(place)) as repo:
            committed = [output for output in recorded_outputs(repo) if output.stage in stages]
            needed = _needed(repo, stages)
        if missing := set(stages) - {output.stage for output in committed}:
            raise UserError(f"dvc.lock has no entry for {', '.join(sorted(missing))}. Run `dvc repro` and commit dvc.lock.")
        _bring_data(place, needed)
        _run(place, stages)
        with Repo(str(place)) as repo:
            yield from _other_bytes(repo, committed, place)


def _stages(place: Path, wanted: Sequence[str]) -> list[str]:
    """Return the wanted stages in the order of dvc.yaml, without those that have no output."""
    with Repo(str(place)) as repo:
        known = [name_of(stage) for stage in repo.index.stages if stage.cmd and stage.outs]
    names = [name for word in wanted for name in (known if word == "all" else _SCORES if word == "scores" else [word])]
    if unknown := [name for name in names if not any(_is_meant(stage, name) for stage in known)]:
        raise UserError(f"--prove: there is no stage {unknown[0]} with outputs. Known: {' '.join(known)}")
    return [stage for stage in known if any(_is_meant(stage, name) for name in names)]


def _is_meant(stage: str, name: str) -> bool:
    return name in (stage, stage.partition("@")[0])


def _needed(repo: Repo, stages: Sequence[str]) -> list[str]:
    """Return the outputs of other stages and the *.dvc files that `stages` read, as targets for `dvc checkout`."""
    root = Path(repo.root_dir)
    others = [output for output in recorded_outputs(repo) if output.stage not in stages and output.is_cached]
    read = [
        Path(each.fs_path).relative_to(root)
        for stage in repo.index.stages
        if name_of(stage) in stages
        for each in stage.deps
        if each.fs_path
    ]
    return [str(output.path) for output in others if any(path == output.path or path in output.path.parents for path in read)]


def _bring_data(place: Path, needed: Sequence[str]) -> None:
    with Repo() as repo:
        cache = repo.cache.local_cache_dir
    if Path(".dvc/config.local").is_file():
        shutil.copy2(".dvc/config.local", place / ".dvc/config.local")
    output_of(*DVC, "config", "--local", "cache.dir", cache, folder=place)
    if paths.WHEELS.is_dir():  # downloads, which are not an output of a stage
        (place / paths.WHEELS).parent.mkdir(parents=True, exist_ok=True)
        (place / paths.WHEELS).symlink_to(paths.WHEELS.resolve())
    bring_initial_weights(place, read_params(place / "params.yaml").get("train", {}).get("init_from", ""))
    if not needed:
        return
    try:
        output_of(*DVC, "checkout", "-q", *needed, folder=place, environment=environment(place))
    except UserError:
        output_of(*DVC, "fetch", "-q", *needed)
        output_of(*DVC, "checkout", "-q", *needed, folder=place, environment=environment(place))


def _run(place: Path, stages: Sequence[str]) -> None:
    command = [sys.executable, "-m", "textmill.commands.dependent_dvc", "repro", "-f", "-s", "--no-run-cache", "--no-commit", *stages]
    if code := subprocess.run(command, cwd=place, env=environment(place), check=False).returncode:
        raise UserError(f"the rerun ended with exit code {code}; its messages are above.")


def _other_bytes(repo: Repo, committed: Sequence[Output], place: Path) -> Iterator[str]:
    for output in committed:
        found = content_md5(repo, place / output.path)
        if found != output.md5:
            yield (
                f"{output.stage}: {output.path}: a rerun gives MD5 {found}, but dvc.lock has {output.md5}. It was edited, damaged, or made"
                f" in another environment (see {paths.ENVIRONMENT})."
            )
