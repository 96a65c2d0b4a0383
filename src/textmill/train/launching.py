"""Start the processes of a training with torchrun, and wait for them.

The job is a folder next to the checkpoints, so that torchrun on several machines can be given the same job.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from textmill.base.errors import UserError
from textmill.base.files import read_json, write_json
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.model.weights import load_model
from textmill.settings.schema import build
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile
from textmill.train.run import HistoryRow, Run, TrainingResult
from textmill.train.settings import TrainSettings

_ENGINE, _WORKER = "textmill.train.torchrun", "textmill.train.worker"  # run as modules; the worker imports this file
_MAX_RESTARTS = 3
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_END = 10.0
_LAST_WORDS = 4000  # characters of the log that an error message shows


@dataclass(frozen=True)
class Job:
    """The inputs of the processes, and the files in `folder` through which they exchange data with the stage."""

    folder: Path
    fold: int
    model: ModelSettings
    train: TrainSettings
    seed: int
    fingerprint: str

    @property
    def path(self) -> Path:
        """The job itself, as JSON."""
        return self.folder / "job.json"

    @property
    def corpus(self) -> Path:
        """The encoded pairs."""
        return self.folder / "corpus.safetensors"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer; exists only with subword sampling."""
        return self.folder / "tokenizer.model"

    @property
    def metrics(self) -> Path:
        """Metrics from the first process: JSON lines [numbers, step]."""
        return self.folder / "metrics.jsonl"

    @property
    def error(self) -> Path:
        """The message of a UserError raised in a process, as a JSON string."""
        return self.folder / "error.json"

    @property
    def network(self) -> Path:
        """The trained model."""
        return self.folder / "model.safetensors"

    @property
    def result(self) -> Path:
        """The TrainingResult as JSON, written last."""
        return self.folder / "result.json"

    @property
    def profile(self) -> Path:
        """Folder for the profile of the first process."""
        return self.folder / "profile"

    @property
    def log(self) -> Path:
        """Output of torchrun and the processes."""
        return self.folder / "log.txt"

    def checkpoint(self) -> CheckpointFile:
        """Return the checkpoint, the same file as for a training in one process."""
        return CheckpointFile(self.folder.parent, self.fingerprint)

    def save(self) -> None:
        """Write the job. Call it after the other inputs are written."""
        write_json(self.path, {name: value for name, value in asdict(self).items() if name != "folder"})

    @classmethod
    def load(cls, path: Path) -> Job:
        """Read a job. Raises UserError if the file is missing or damaged, or has unknown settings."""
        values = read_json(path)
        model, train = build(ModelSettings, values.pop("model"), "model"), build(TrainSettings, values.pop("train"), "train")
        return cls(folder=path.parent, model=model, train=train, **values)


def train_in_processes(job: Job, corpus: EncodedCorpus, tokenizer: Tokenizer | None, run: Run) -> tuple[Seq2SeqModel, TrainingResult]:
    """Start `train.processes` processes and wait for them. If one dies, torchrun restarts all of them from the last checkpoint.

    Raises UserError if a process raised one, or if there are fewer GPUs than processes.
    Raises RuntimeError with the end of the log if torchrun gave up after too many restarts.
    """
    gpus = torch.cuda.device_count() if job.train.device != "cpu" else 0
    if 0 < gpus < job.train.processes:
        raise UserError(
            f"params.yaml: {run.description}: processes is {job.train.processes}, but each needs a GPU and this machine has {gpus}."
            " Lower processes, or set device to cpu."
        )
    shutil.rmtree(job.folder, ignore_errors=True)
    corpus.save(job.corpus)
    if tokenizer is not None:
        tokenizer.save(job.tokenizer)
    job.save()
    code = _run_watched(job, run)
    if job.error.exists():
        raise UserError(read_json(job.error))
    if code != 0:
        raise RuntimeError(
            f"{run.description}: the processes ended with exit code {code}:\n{job.log.read_text(errors='replace')[-_LAST_WORDS:]}"
        )
    network, values = load_model(job.network), read_json(job.result)
    result = TrainingResult(**{**values, "history": [HistoryRow(**row) for row in values["history"]]})
    if run.profile_folder is not None and job.profile.exists():
        shutil.copytree(job.profile, run.profile_folder, dirs_exist_ok=True)
    shutil.rmtree(job.folder)
    return network, result


def _run_watched(job: Job, run: Run) -> int:
    """Run torchrun, and forward metrics and log lines while it runs. Returns its exit code. An exception here ends the processes."""
    options = ["--standalone", f"--nproc-per-node={job.train.processes}", f"--max-restarts={_MAX_RESTARTS}"]
    command = [sys.executable, "-m", _ENGINE, str(os.getpid()), *options, "-m", _WORKER, str(job.path)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(job.train.num_threads),  # otherwise torchrun sets 1 and prints a long warning
        # One store per restart. With a shared store (torch 2.13), restarted processes may read the addresses of dead ones and hang.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    metrics, lines = _Tail(job.metrics), _Tail(job.log)
    with job.log.open("wb") as log:
        engine = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        is_over = False
        while not is_over:
            is_over = engine.poll() is not None or job.error.exists()
            for line in metrics.new_lines():
                if run.on_metrics is not None:
                    run.on_metrics(*json.loads(line))
            for line in lines.new_lines():
                if line.startswith(f"{run.description}:"):
                    print(line, file=sys.stderr, flush=True)
            if not is_over:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        engine.terminate()  # torchrun ends its processes, then exits
        try:
            code = engine.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            engine.kill()  # its processes die with it
            code = engine.wait()
    return code


class _Tail:
    """Read a growing file. Returns each complete line once."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new_lines(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text, end, _ = file.read().rpartition(b"\n")
        self._offset += len(text) + len(end)
        return text.decode("utf-8", errors="replace").split("\n") if end else []
