"""Search for better values of params.yaml, as described in tune.yaml. See docs/tuning.md.

A trial is `dvc repro STAGE` in a copy of the project with other params. Its validation losses are read from its checkpoints during
training, and a poor trial is stopped. Several processes, on one or more machines, work on the same search if they have the same
storage (a database URL; the default is an SQLite file under .tune/) and the same commit. A search that was killed continues when it
is started again.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.commands.search_inputs import require_reach, search_inputs, study_name
from textmill.commands.trial_workspace import environment, read_params, set_params, workspace, write_params
from textmill.settings.tree import check_settings, with_defaults
from textmill.tracking.connection import Connection, connect_search
from textmill.tracking.redaction import redacted
from textmill.tracking.runs import RunLog, search_run, trial_run
from textmill.tuning.curve import Curve
from textmill.tuning.process import last_words, run_watched
from textmill.tuning.settings import Tune, read_tune
from textmill.tuning.space import value_at, with_values
from textmill.tuning.study import (
    STORAGE_ERRORS,
    best_trial,
    claim,
    counted,
    enqueue_current,
    is_taken_away,
    open_study,
    reason_of,
    recover,
    try_again,
)

HOME = Path(".tune")
BEST = HOME / "best.yaml"
_FAILURES_THAT_END_A_SEARCH = 3


class TrialFailed(Exception):  # noqa: N818 (beside optuna.TrialPruned)
    """A trial ended with an error. The search continues."""


@dataclass
class Search:
    """One process of a search.

    params: content of params.yaml, with comments.
    place: copy of the project in which trials run.
    last: number of the last trial of this process.
    """

    tune: Tune
    name: str
    study: Study
    params: Any
    place: Path
    connection: Connection | None
    last: int = 0

    def run(self) -> None:
        """Run trials until the number in tune.yaml has ended or is running, over all processes."""
        while self._is_room():
            try:
                self.study.optimize(self._trial, n_trials=1, catch=(TrialFailed,))
            except (ValueError, UpdateFinishedTrialError):
                if not is_taken_away(self.study, self.last):
                    raise
                print(f"tune: trial {self.last} sent no heartbeat for too long; its values are tried again", flush=True)
                continue
            self._say(self.study.get_trials(deepcopy=False))

    def _is_room(self) -> bool:
        say_recovered(self.study)
        return len(counted(self.study.get_trials(deepcopy=False))) < self.tune.search.trials

    def _trial(self, trial: Trial) -> float:
        self.last = trial.number
        run = RunLog(None)
        state, status, reason = "failed", "KILLED", "interrupted"
        try:
            claim(trial)
            values = {key: dimension.suggest(trial, key) for key, dimension in self.tune.space.items()}
            print(f"tune: trial {trial.number} starts with {_shown(values)}", flush=True)
            run = trial_run(self.connection, f"trial {trial.number}", values)
            run.tag("textmill.tuning", self.name)
            value = self._value(trial, values, run)
            run.metrics({"value": value})
            state, status, reason = "complete", "FINISHED", ""
            return value
        except optuna.TrialPruned as pruned:
            state, status, reason = "pruned", "FINISHED", str(pruned)
            raise
        except TrialFailed as failed:
            state, status, reason = "failed", "FAILED", str(failed)
            raise
        except KeyboardInterrupt:
            try_again(self.study, trial)
            raise
        finally:
            if reason:
                run.tag("reason", reason)
            run.tag("state", state)
            run.end(status)
            if reason:
                trial.set_user_attr("reason", reason)

    def _value(self, trial: Trial, values: Mapping[str, Any], run: RunLog) -> float:
        params = with_values(self.params, values)
        try:
            check_settings(params)
        except UserError as error:
            raise TrialFailed(redacted(error)) from None
        set_params(self.place, params)
        search = self.tune.search
        (self.place / search.metric_file).unlink(missing_ok=True)
        name, _, fold = search.stage.partition("@")
        curve = Curve(self.place / paths.CHECKPOINTS / name / fold, (self.place / search.metric_file).with_name("history.csv"))
        log = self.place.parent / "logs" / f"trial-{trial.number}.log"
        command = [sys.executable, "-m", "textmill.commands.dependent_dvc", "repro", search.stage]
        code = run_watched(command, self.place, environment(self.place), log, lambda: self._goes_on(trial, curve.so_far(), run))
        if code is None:
            raise optuna.TrialPruned(f"worse than the median at step {trial.study.trials[trial.number].last_step}")
        if code:
            raise TrialFailed(f"{last_words(log)} ({log})")
        self._goes_on(trial, curve.whole(), run)
        return self._factor() * _number(read_json(self.place / search.metric_file), search.metric_key, search.metric)

    def _goes_on(self, trial: Trial, losses: Mapping[int, float], run: RunLog) -> bool:
        """Report new validation losses. Returns False if the trial should be pruned."""
        known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for step, loss in sorted(losses.items()):
            if step not in known:
                trial.report(self._factor() * loss, step)
                run.metrics({"validation_loss": self._factor() * loss}, step)
                if trial.should_prune():
                    return False
        return True

    def _factor(self) -> float:
        if not self.tune.search.per_text:
            return 1.0
        encoded = read_json(self.place / paths.ENCODE_METRICS)
        return float((encoded["target_tokens"] + encoded["pairs"]) / encoded["pairs"])

    def _say(self, trials: list[FrozenTrial]) -> None:
        best = keep_best(self.study, self.tune, self.params)
        print(f"tune: {progress_line(trials[self.last], best, trials, self.tune.search.trials)}", flush=True)
        ended = [trial for trial in counted(trials) if trial.state.is_finished()]
        if len(ended) >= _FAILURES_THAT_END_A_SEARCH and all(trial.state == TrialState.FAIL for trial in ended):
            raise UserError(f"all of {len(ended)} trials have failed, the last one: {trials[self.last].user_attrs.get('reason', '?')}")


def keep_best(study: Study, tune: Tune, params: Any) -> FrozenTrial | None:
    """Write params.yaml with the values of the best trial to BEST. Returns the trial, or None if none is complete."""
    best = best_trial(study)
    if best is not None:
        ended = len(counted(study.get_trials(deepcopy=False)))
        heading = f"# The best of {ended} trials of {study.study_name}: trial {best.number}, {tune.search.metric} {best.value:.6g}\n"
        write_params(BEST, with_values(params, values_of(best, tune)), heading)
    return best


def say_recovered(study: Study) -> None:
    """Queue the values of killed trials again, and print a line for each."""
    for number in recover(study):
        print(f"tune: trial {number} was killed; its values are tried again", flush=True)


def values_of(trial: FrozenTrial, tune: Tune) -> dict[str, Any]:
    """Return the values that a trial sets in params.yaml, by full key."""
    return {key: tune.space[key].restored(value) for key, value in trial.params.items()}


def progress_line(last: FrozenTrial, best: FrozenTrial | None, trials: list[FrozenTrial], wanted: int) -> str:
    """Return one line with number, state and value of a trial, the best trial, and the remaining time."""
    counting = counted(trials)
    ended = [trial for trial in counting if trial.duration is not None]
    mean = sum(trial.duration.total_seconds() for trial in ended if trial.duration) / max(len(ended), 1)
    workers = max(sum(trial.state == TrialState.RUNNING for trial in counting) + 1, 1)  # other processes, and this one
    remaining = tqdm.format_interval(max(wanted - len(ended), 0) * mean / workers)
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(last.state.name, last.state.name)
    value = f" {last.value:.5g}" if last.state == TrialState.COMPLETE and last.value is not None else ""
    why = f" ({last.user_attrs['reason']})" if "reason" in last.user_attrs else ""
    best_shown = f"best {best.value:.5g} of trial {best.number}" if best is not None else "none complete yet"
    return f"trial {last.number} {state}{value}{why}; {best_shown}; {len(ended)} of {wanted} ended, about {remaining} left"


def main(storage: str) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        params = read_params(Path("params.yaml"))
        check_settings(params)
        tune = read_tune(Path("tune.yaml"), params)
        search = tune.search
        inputs = search_inputs(search.stage)
        require_reach(inputs, tune.space, search.stage)
        if search.metric_file.as_posix() not in inputs.outputs:
            raise UserError(f"tune.yaml: search.metric names {search.metric_file}, which is not an output of {search.stage}.")
        name = study_name(search, tune.space, inputs, with_defaults(params))
        HOME.mkdir(exist_ok=True)
        study = open_study(name, search, storage or f"sqlite:///{HOME.resolve() / 'studies.db'}")
        _tell_where_it_starts(study, tune, params, name)
        connection = connect_search(name)
        parent = search_run(connection)
        with workspace(HOME / name, search.stage) as place:
            Search(tune, name, study, params, place, connection).run()
        _end(study, tune, params, parent)
        return 0
    except UserError as error:
        print(redacted(error), file=sys.stderr)
        return 2
    except STORAGE_ERRORS as error:
        print(f"tune: the storage failed ({reason_of(error)}). Ended trials are kept; `make tune` continues.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tune: stopped. `make tune` continues.", file=sys.stderr)
        return 130


def _tell_where_it_starts(study: Study, tune: Tune, params: Any, name: str) -> None:
    say_recovered(study)
    if not study.get_trials(deepcopy=False):
        full = with_defaults(params)
        current = {key: value_at(full, key) for key in tune.space}
        if not enqueue_current(study, tune.space, current):
            print("tune: the values in params.yaml are outside the search space, so they are not tried", flush=True)
    done = sum(trial.state.is_finished() for trial in counted(study.get_trials(deepcopy=False)))
    print(f"tune: study {name}: {done} of {tune.search.trials} trials have ended; {len(tune.space)} keys", flush=True)


def _end(study: Study, tune: Tune, params: Any, parent: RunLog) -> None:
    running = sum(trial.state == TrialState.RUNNING for trial in study.get_trials(deepcopy=False))
    if running:
        print(f"tune: no trial is left to start, but {running} still run in other processes. The last one reports the best trial.")
        return
    parent.end_children("KILLED", {"state": "failed"})  # runs of machines that are gone
    best = keep_best(study, tune, params)
    if best is None:
        raise UserError("no trial is complete, so there is no best trial. See the reasons above.")
    found = values_of(best, tune)
    parent.metrics({"value": best.value})
    parent.tag("best", f"trial {best.number}: {_shown(found)}")
    parent.artifact(BEST)
    parent.end("FINISHED")
    print(f"tune: best is trial {best.number}, {tune.search.metric} {best.value:.6g}, with {_shown(found)}")
    print(f"tune: {BEST} is params.yaml with these values. To use it, run one of these commands:")
    print(f"  cp {BEST} params.yaml")
    print(f"  dvc exp run {' '.join(overrides(found, params))}")


def overrides(values: Mapping[str, Any], params: Any) -> list[str]:
    """Return the arguments of `dvc exp run` in Hydra's syntax, quoted for the shell.

    params: content of params.yaml. A key that it lacks is added with `++`.
    """
    return [f"-S {shlex.quote(f'{_sign(params, key)}{key}={_hydra(value)}')}" for key, value in values.items()]


def _sign(params: Any, key: str) -> str:
    try:
        value_at(params, key)
    except KeyError:
        return "++"
    return ""


def _hydra(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, str):  # quoted, because a bare word may have another meaning in Hydra
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_hydra(entry)}' for key, entry in value.items())}}}"
    return repr(value)


def _number(content: Any, key: str, metric: str) -> float:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise UserError(f"tune.yaml: search.metric is {metric}, but the file has no number of that name.")
    return float(content)


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items())
