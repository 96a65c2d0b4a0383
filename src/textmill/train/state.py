"""The state of a training in a checkpoint: position, learning curve, weight snapshots, optimizer and random states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.train.averaging import MovingAverage
from textmill.train.distributed import Processes, full_tensor, shard_like
from textmill.train.optimization import Optimizer
from textmill.train.run import HistoryRow, Run


@dataclass
class Position:
    """The position in the training data.

    step: number of optimizer steps taken.
    batch: index of the next batch in the epoch.
    batches: number of batches in the epoch; 0 before the first epoch.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    batches: int = 0
    validations_without_gain: int = 0


class TrainingState:
    """The state that changes during a training. snapshots: weights of the last validations, or of the best one if only one is kept."""

    def __init__(self, run: Run, processes: Processes, optimizer: Optimizer, average: MovingAverage | None) -> None:
        self.run, self.processes, self.optimizer, self.average = run, processes, optimizer, average
        self.position = Position()
        self.history: list[HistoryRow] = []
        self.snapshots: list[dict[str, Tensor]] = []
        if not processes.is_first:
            torch.manual_seed(_seed_of(run.seed, processes.rank, 0))  # each rank has other rows, so it needs other dropout masks

    def save(self) -> None:
        """Write the checkpoint, if the run has one. All processes must call it; the first one writes."""
        if self.run.checkpoint is None:
            return
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": full_tensor(tensor).cpu() for name, tensor in self.average.average.items()}
        for index, snapshot in enumerate(self.snapshots):
            tensors |= {f"snapshot.{index}.{name}": full_tensor(tensor).cpu() for name, tensor in snapshot.items()}
        states = {"cpu": torch.get_rng_state()}
        if self.run.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.run.device)
        for kind, random in states.items():
            tensors |= {f"random.{kind}.{rank}": state for rank, state in enumerate(self.processes.all_gather(random))}
        if not self.processes.is_first:
            return
        state: dict[str, Any] = {"position": asdict(self.position), "history": [asdict(row) for row in self.history]}
        self.run.checkpoint.save(tensors, state)

    def resume(self) -> None:
        """Resume from the checkpoint, if there is one."""
        found = self.run.checkpoint.load() if self.run.checkpoint is not None else None
        if found is None:
            return
        tensors, state = found
        self.position = Position(**state["position"])
        self.history = [HistoryRow(**row) for row in state["history"]]
        self.optimizer.load(_under("optimizer.", tensors))
        if self.average is not None:
            for name, value in self.average.average.items():
                value.copy_(shard_like(tensors[f"average.{name}"], value))
        weights = self.optimizer.named_weights()
        by_index: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("snapshot.", tensors).items():
            index, _, field = name.partition(".")
            by_index.setdefault(int(index), {})[field] = shard_like(value.to(self.run.device), weights[field])
        self.snapshots = [by_index[index] for index in sorted(by_index)]
        self._resume_random_states(tensors)
        if self.processes.is_first:
            print(f"{self.run.description}: resuming from the checkpoint at step {self.position.step}", flush=True)

    def _resume_random_states(self, tensors: Mapping[str, Tensor]) -> None:
        rank = self.processes.rank
        states = {kind: tensors.get(f"random.{kind}.{rank}") for kind in ("cpu", "cuda")}
        # For a checkpoint from fewer processes, or from a CPU if a GPU resumes: it has no random state for this rank or device.
        torch.manual_seed(_seed_of(self.run.seed, rank, self.position.step))
        if states["cpu"] is not None:
            torch.set_rng_state(states["cpu"])
        if states["cuda"] is not None and self.run.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.run.device)


def _seed_of(seed: int, rank: int, step: int) -> int:
    return int(np.random.default_rng([seed, rank, step]).integers(1 << 62))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
