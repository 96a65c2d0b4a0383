"""One process of a distributed training, started by torchrun: `torchrun ... -m textmill.train.worker FOLDER/job.json`."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torch import distributed

from textmill.base.errors import UserError
from textmill.base.files import write_json
from textmill.base.lifetime import end_with_parent
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.factory import build_model
from textmill.model.weights import save_model
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.distributed import whole_weights
from textmill.train.folds import train_fold
from textmill.train.launching import Job
from textmill.train.run import Run


def main(path: Path) -> None:
    """Train together with the other processes; the first one writes the results. A UserError is saved in the job folder, exit code 2."""
    end_with_parent(signal.SIGKILL)
    job = Job.load(path)
    if job.error.exists():  # torchrun restarts after any failure, but a UserError would only occur again
        sys.exit(2)
    if job.train.device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        distributed.init_process_group("gloo")
    try:
        _train(job)
    except UserError as error:
        write_json(job.error, str(error))
        sys.exit(2)
    distributed.destroy_process_group()


def _train(job: Job) -> None:
    tokenizer = Tokenizer.load(job.tokenizer) if job.tokenizer.exists() else None
    is_first = distributed.get_rank() == 0

    def on_metrics(numbers: dict[str, float], step: int) -> None:
        with job.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps([numbers, step]) + "\n")

    run = Run("train", job.seed, job.checkpoint(), on_metrics, profile_folder=job.profile if is_first else None)
    network, result = train_fold(EncodedCorpus.load(job.corpus), job.fold, job.model, job.train, run, tokenizer)
    weights = whole_weights(network.state_dict().items())
    if is_first:
        full_model = build_model(network.shape)
        full_model.load_state_dict(weights)
        save_model(job.network, full_model)
        write_json(job.result, asdict(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
