"""Starting the processes of a training: torchrun on this machine, watched from the stage that waits for them.

The job lies in a folder beside the checkpoints, so that torchrun on several machines can be given the same one.
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

_ENGINE, _WORKER = "textmill.train.torchrun", "textmill.train.worker"  # modules that are run; the worker imports this one
_MAX_RESTARTS = 3
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_END = 10.0
_LAST_WORDS = 4000  # characters of the log that a failure shows


@dataclass(frozen=True)
class Job:
    """What the processes have to know, and the files in `folder` by which they and the stage speak with each other."""

    folder: Path
    fold: int
    model: ModelSettings
    train: TrainSettings
    seed: int
    fingerprint: str

    @property
    def path(self) -> Path:
        """The job itself, JSON."""
        return self.folder / "job.json"

    @property
    def corpus(self) -> Path:
        """The pairs."""
        return self.folder / "corpus.safetensors"

    @property
    def tokenizer(self) -> Path:
        """There only if texts are cut anew."""
        return self.folder / "tokenizer.model"

    @property
    def metrics(self) -> Path:
        """JSON lines of the first process: [numbers, step]."""
        return self.folder / "metrics.jsonl"

    @property
    def error(self) -> Path:
        """A user's mistake that a process found; JSON text."""
        return self.folder / "error.json"

    @property
    def network(self) -> Path:
        """The trained model."""
        return self.folder / "model.safetensors"

    @property
    def result(self) -> Path:
        """TrainingResult as JSON, written last."""
        return self.folder / "result.json"

    @property
    def profile(self) -> Path:
        """Folder of the first process's profile."""
        return self.folder / "profile"

    @property
    def log(self) -> Path:
        """What torchrun and the processes print."""
        return self.folder / "log.txt"

    def checkpoint(self) -> CheckpointFile:
        """The same file that a training in one process uses."""
        return CheckpointFile(self.folder.parent, self.fingerprint)

    def save(self) -> None:
        """Write the job, as the last of its inputs."""
        write_json(self.path, {name: value for name, value in asdict(self).items() if name != "folder"})

    @classmethod
    def load(cls, path: Path) -> Job:
        """Raises UserError if the file is missing, damaged, or of other settings."""
        values = read_json(path)
        model, train = build(ModelSettings, values.pop("model"), "model"), build(TrainSettings, values.pop("train"), "train")
        return cls(folder=path.parent, model=model, train=train, **values)


def train_in_processes(job: Job, corpus: EncodedCorpus, tokenizer: Tokenizer | None, run: Run) -> tuple[Seq2SeqModel, TrainingResult]:
    """Start `train.processes` processes and wait; a process that dies is started again with all others, from the last checkpoint.

    Raises UserError if a process did or there are fewer GPUs than processes, RuntimeError with the end of their log if they died more
    often than torchrun starts them anew.
    """
    gpus = torch.cuda.device_count() if job.train.device != "cpu" else 0
    if 0 < gpus < job.train.processes:
        raise UserError(
            f"params.yaml: {run.description}: processes is {job.train.processes}, but this machine has {gpus} GPU(s) and each process takes one."
            " Lower it, or set device to cpu."
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
    """torchrun's exit code; what the processes report is handed on while they run. Any exception here ends them."""
    options = ["--standalone", f"--nproc-per-node={job.train.processes}", f"--max-restarts={_MAX_RESTARTS}"]
    command = [sys.executable, "-m", _ENGINE, str(os.getpid()), *options, "-m", _WORKER, str(job.path)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(job.train.num_threads),  # torchrun would set 1, and say so at length
        # A store of its own for every start: in torch 2.13 processes may else find the addresses of those that died, and wait for them.
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
        engine.terminate()  # torchrun ends its processes, then itself
        try:
            code = engine.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            engine.kill()  # its processes die with it
            code = engine.wait()
    return code


class _Tail:
    """Whole lines of a growing file, each given once."""

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
