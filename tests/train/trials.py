"""Trainings in separate processes that end at a chosen moment, and the files that remain."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from toy import MODEL, TRAIN

from textmill.base import tensors
from textmill.base.errors import UserError
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model import dropout
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.shape import Shape
from textmill.model.weights import save_model
from textmill.prune import fine_tuning
from textmill.prune.settings import PruneSettings
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile
from textmill.train.loop import Trainer
from textmill.train.run import Run as OneRun
from textmill.train.run import TrainingData, TrainingResult
from textmill.train.settings import TrainSettings

PLAIN = replace(TRAIN, batch_tokens=300, max_steps=14, validate_every=4)  # more than an epoch; saves are mid-epoch
EVERYTHING = replace(
    PLAIN,
    precision="bfloat16",
    accumulate=2,
    ema_decay=0.9,
    average_checkpoints=3,
    subword_sampling=0.3,
    token_dropout=0.1,
    optimizer="adamw",
    weight_decay=0.01,
)
SETTINGS = {"plain": PLAIN, "everything": EVERYTHING}

# The server imports torch once, with what Adam imports late, and is forked for every trial; it never ran a thread of torch.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["textmill.train.loop", "textmill.model.weights", "textmill.prune.fine_tuning", "torch._dynamo"])


@dataclass(frozen=True)
class End:
    """When a process ends. kind and place: see `_ENDS`. number: number of the save, counted from 1."""

    kind: str
    place: float = 0
    number: int = 1


@dataclass(frozen=True)
class Run:
    """The files of one training. folder holds corpus and tokenizer; name: of the files that the training writes.

    fingerprint: of what determines its result, in the name of its checkpoint.
    """

    folder: Path
    name: str
    settings: TrainSettings
    fingerprint: str = "f"

    @property
    def checkpoint(self) -> CheckpointFile:
        return CheckpointFile(self.folder / self.name, self.fingerprint)

    @property
    def model(self) -> Path:
        return self.folder / f"{self.name}.model.safetensors"

    def rows_seen(self) -> list[list[int]]:
        """Return the batches as one undisturbed process would see them: each process counts only up to where the next one starts."""
        text = (self.folder / f"{self.name}.rows.jsonl").read_text()
        pieces = [[json.loads(line) for line in piece.split("\n") if line.endswith("]")] for piece in text.split("start\n")]
        seen: list[tuple[int, list[int]]] = []
        for piece in pieces:
            seen = [batch for batch in seen if not piece or batch[0] < piece[0][0]] + piece
        return [rows for _, rows in seen]

    def history(self) -> Any:
        return json.loads((self.folder / f"{self.name}.history.json").read_text())

    def first_steps(self) -> list[int]:
        """Return, for every process, the number of steps before its first batch."""
        pieces = (self.folder / f"{self.name}.rows.jsonl").read_text().split("start\n")[1:]
        return [json.loads(piece.split("\n")[0])[0] for piece in pieces if piece]

    def start(self, end: End | None = None, seed: int = 1) -> int:
        """Train in a process and return its exit code. seed: for a process that finds a checkpoint; otherwise the normal seed is used."""
        return _exit_code(_train, self, end, seed)

    def start_fine_tuning(self, end: End | None = None) -> int:
        """Prune and fine-tune a fixed model in a process, and return its exit code."""
        return _exit_code(_fine_tune, self, end)

    def message(self) -> str:
        """Return the message of the UserError that ended the process."""
        return (self.folder / f"{self.name}.error.txt").read_text()


def trainer(run: Run, seed: int, **more: Any) -> Trainer:
    """Build it as `train_fold` does, except that the process may have another seed."""
    corpus, tokenizer = EncodedCorpus.load(run.folder / "corpus.safetensors"), Tokenizer.load(run.folder / "tokenizer.model")
    device = prepare_device("cpu", 1, seed)
    model = build_model(Shape.of(MODEL, corpus.vocabulary_size))
    return Trainer(
        model, TrainingData.without(0, corpus, tokenizer), run.settings, OneRun("train", 1, run.checkpoint, device=device, **more)
    )


def _exit_code(target: Callable[..., None], *arguments: Any) -> int:
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def again(folder: Path) -> None:
    """Run every training again in this process."""
    for name, settings in SETTINGS.items():
        _train(Run(folder, f"again-{name}", settings), None, 1)


def _train(run: Run, end: End | None, seed: int) -> None:
    dropout._POOL_SIZE, dropout._LARGEST_SLICE = 1 << 16, 1 << 15  # drawn sooner
    log = os.open(run.folder / f"{run.name}.rows.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"start\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def note(rows: np.ndarray) -> None:
        os.write(log, f"{json.dumps([training.state.position.step, rows.tolist()])}\n".encode())

    training = trainer(run, seed if run.checkpoint.load() is not None else 1, on_rows=note)
    if end is not None:
        _ENDS[end.kind](training, end)
    started = time.monotonic()
    try:
        result = training.run()
    except UserError as error:
        (run.folder / f"{run.name}.error.txt").write_text(str(error))
        sys.exit(2)
    except _Terminated:
        sys.exit(143)
    (run.folder / f"{run.name}.seconds").write_text(str(time.monotonic() - started))
    (run.folder / f"{run.name}.history.json").write_text(json.dumps([asdict(row) for row in result.history]))
    save_model(run.model, training.model)


def _fine_tune(run: Run, end: End | None) -> None:
    def ending(*arguments: Any) -> TrainingResult:
        training = Trainer(*arguments)
        if end is not None:
            _ENDS[end.kind](training, end)
        return training.run()

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    fine_tuning.fit = ending
    corpus = EncodedCorpus.load(run.folder / "corpus.safetensors")
    prepare_device("cpu", 1, 1)
    student = build_model(Shape.of(MODEL, corpus.vocabulary_size))
    prune = PruneSettings(1, 1, feed_forward_removed=0.5, multiple_of=4, importance_batches=3, fine_tune=run.settings)
    tuned, shape, result = fine_tuning.prune_and_fine_tune(student, corpus, prune, OneRun("fine-tune", 1, run.checkpoint))
    (run.folder / f"{run.name}.history.json").write_text(json.dumps([shape, *(asdict(row) for row in result.history)]))
    save_model(run.model, tuned)


class _Terminated(BaseException):
    """Handle SIGTERM as src/textmill/pipeline/runner.py does."""


def _kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate(*_: object) -> None:
    def terminate(*_: object) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    os.kill(os.getpid(), signal.SIGTERM)


def _behind_step(act: Callable[[], None]) -> Callable[[Trainer, End], None]:
    def install(training: Trainer, end: End) -> None:
        step = training._step

        def ending(batches: Any) -> Any:
            result = step(batches)
            if training.state.position.step == end.place:
                act()
            return result

        training._step = ending  # type: ignore[method-assign]

    return install


def _at_sync(act: Callable[[], None], is_renamed: bool) -> Callable[[Trainer, End], None]:
    """A save syncs the file, renames it, and syncs the folder."""

    def install(training: Trainer, end: End) -> None:
        sync, calls = os.fsync, iter(range(1, 1000))

        def ending(descriptor: int) -> None:
            if next(calls) == 2 * end.number - (not is_renamed):
                act()
            sync(descriptor)

        os.fsync = ending

    return install


def _inside_write(training: Trainer, end: End) -> None:
    """Kill the process when the file has the share `place` of its bytes."""
    save, calls = tensors.save_file, iter(range(1, 1000))

    def ending(stored: Any, path: Path, metadata: Any) -> None:
        save(stored, path, metadata=metadata)
        if next(calls) == end.number:
            os.truncate(path, int(end.place * path.stat().st_size))
            _kill()

    tensors.save_file = ending  # type: ignore[assignment]


def _at_time(training: Trainer, end: End) -> None:
    """End the process after `place` seconds at any point: the default action of SIGALRM runs no cleanup."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, end.place)


def _at_size(action: signal.Handlers) -> Callable[[Trainer, End], None]:
    """Limit files to `place` bytes in the save `number`. The write fails if the signal is ignored, and kills the process otherwise."""

    def install(training: Trainer, end: End) -> None:
        save, calls = tensors.save_file, iter(range(1, 1000))

        def limited(stored: Any, path: Path, metadata: Any) -> None:
            if next(calls) == end.number:
                signal.signal(signal.SIGXFSZ, action)
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(end.place), resource.RLIM_INFINITY))
            try:
                save(stored, path, metadata=metadata)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        tensors.save_file = limited  # type: ignore[assignment]

    return install


def _little_memory(training: Trainer, end: End) -> None:
    """Allow `place` more bytes of address space than the process has when its first step begins."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(end.place), resource.RLIM_INFINITY))


_ENDS: dict[str, Callable[[Trainer, End], None]] = {
    "killed behind step": _behind_step(_kill),
    "killed at second": _at_time,
    "killed in write": _inside_write,
    "killed before rename": _at_sync(_kill, is_renamed=False),
    "killed behind rename": _at_sync(_kill, is_renamed=True),
    "terminated behind step": _behind_step(_terminate),
    "terminated before rename": _at_sync(_terminate, is_renamed=False),
    "disk full": _at_size(signal.SIG_IGN),
    "killed at size": _at_size(signal.SIG_DFL),
    "little memory": _little_memory,
}
