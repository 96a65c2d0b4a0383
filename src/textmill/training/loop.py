"""The training loop: batches in, a trained model and its learning curve out.

Dimensions: B rows, T target length, N target tokens of a batch without padding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.errors import UserError
from textmill.model.device import autocast
from textmill.model.interface import Seq2SeqModel
from textmill.model.probabilities import token_log_probabilities
from textmill.progress import Progress
from textmill.settings.training import TrainSettings
from textmill.tokens.batching import Batch, epoch_rows, make_batch, token_budget_batches
from textmill.tokens.shards import EncodedCorpus
from textmill.tokens.special import PAD
from textmill.training.averaging import averaged
from textmill.training.checkpoints import CheckpointFile
from textmill.training.objective import label_smoothed_nll
from textmill.training.schedules import SCHEDULES

_STEPS_BETWEEN_FINITE_CHECKS = 10
_VALIDATION_BATCH_FACTOR = 4  # no gradients: a batch of validation may be larger

OnMetrics = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class HistoryRow:
    """One validation. train_loss: mean since the one before, label smoothing included; losses in nats per token.

    validation_loss: cross entropy without smoothing, None without a validation set.
    """

    step: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float


@dataclass
class TrainingResult:
    """How a training ended. best_validation_loss: of the weights that are kept, None without a validation set."""

    steps: int
    epochs: float
    stopped_early: bool
    best_validation_loss: float | None
    history: list[HistoryRow]


@dataclass
class _Position:
    """Where a training stands: enough, with the tensors, to go on exactly."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    validations_without_gain: int = 0


class Trainer:
    """Trains `model` on the rows `training_rows` of `corpus`.

    validation_rows: rows for the validation loss, or None: then nothing stops early and the last weights are kept.
    checkpoint: where the state is kept for resuming, or None. on_metrics: called at every validation with numbers and step.
    """

    def __init__(
        self,
        model: Seq2SeqModel,
        corpus: EncodedCorpus,
        training_rows: np.ndarray,
        validation_rows: np.ndarray | None,
        settings: TrainSettings,
        seed: int,
        device: torch.device,
        checkpoint: CheckpointFile | None = None,
        on_metrics: OnMetrics | None = None,
        description: str = "train",
    ) -> None:
        if len(training_rows) == 0:
            raise UserError("train: there is no training pair. Use more data or fewer folds.")
        if validation_rows is not None and len(validation_rows) == 0:
            raise UserError("train: the fold has no validation pair. Use fewer folds or a larger encode.max_tokens.")
        self.model = model.to(device)
        self.corpus, self.settings, self.seed, self.device = corpus, settings, seed, device
        self.training_rows, self.validation_rows = training_rows, validation_rows
        self.checkpoint, self.on_metrics, self.description = checkpoint, on_metrics, description
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        # beta2 and epsilon of Vaswani et al. 2017, section 5.3
        self.optimizer = kind(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9, weight_decay=settings.weight_decay, fused=True)
        self.schedule = SCHEDULES[settings.schedule]
        self.source_lengths = corpus.source_lengths().numpy()
        self.target_lengths = corpus.target_lengths().numpy()
        self.weights = corpus.weight.numpy()
        self.position = _Position()
        self.history: list[HistoryRow] = []
        self.snapshots: list[dict[str, Tensor]] = []  # of the last validations; with average_checkpoints 1, of the best

    def run(self) -> TrainingResult:
        """Train to max_steps or to an early stop. Afterwards the model holds the weights to keep, in evaluation mode.

        Raises UserError if the loss is not finite any more.
        """
        self._resume()
        stopped_early = self._train()
        self._take_weights()
        best = self.validation_loss() if self.validation_rows is not None else None
        epochs = self.position.epoch + self.position.batch / max(len(self._batches(self.position.epoch)), 1)
        return TrainingResult(self.position.step, epochs, stopped_early, best, self.history)

    def _train(self) -> bool:
        settings, position = self.settings, self.position
        if self._is_out_of_patience():
            return True
        loss_sum, losses = torch.zeros((), device=self.device), 0
        tokens, started = 0, time.monotonic()
        self.model.train()
        with Progress(self.description, settings.max_steps, "steps", position.step) as progress:
            for batch in self._endless_batches():
                loss_sum += self._step(batch)
                losses += 1
                tokens += int(batch.target_output.numel())
                is_validation = position.step % settings.validate_every == 0 or position.step == settings.max_steps
                if is_validation or position.step % _STEPS_BETWEEN_FINITE_CHECKS == 0:
                    self._require_finite(loss_sum)
                if is_validation:
                    rate = tokens / (time.monotonic() - started)
                    self._validate(float(loss_sum) / losses, rate)
                    loss_sum, losses = torch.zeros((), device=self.device), 0
                    tokens, started = 0, time.monotonic()
                    self.model.train()
                last = self.history[-1] if self.history else None
                shown = f"{last.validation_loss:.3f}" if last and last.validation_loss is not None else "-"
                rate_shown = f"{tokens / (time.monotonic() - started + 1e-9):,.0f}" if tokens else "-"
                progress.advance(1, validation_loss=shown, tokens_per_second=rate_shown)
                if position.step >= settings.max_steps:
                    return False
                if is_validation and self._is_out_of_patience():
                    return True
        return False

    def _step(self, batch: Batch) -> Tensor:
        settings, position = self.settings, self.position
        position.step += 1
        batch = batch.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(position.step, settings)
        with autocast(settings.precision, self.device):
            states = self.model(batch.source, batch.target_input)  # (B, T, D)
            is_token = batch.target_output != PAD  # (B, T)
            logits = self.model.logits(states[is_token])  # (N, V): nothing is computed for padding
        loss = label_smoothed_nll(logits, batch.target_output[is_token], settings.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        self.optimizer.step()
        return loss.detach()

    def _batches(self, epoch: int) -> list[np.ndarray]:
        budget = self.settings.batch_tokens
        rows = epoch_rows(self.training_rows, self.weights, self.seed, epoch)
        return token_budget_batches(self.source_lengths, self.target_lengths, rows, budget, self.seed, epoch)

    def _endless_batches(self) -> Iterator[Batch]:
        position = self.position
        while True:
            batches = self._batches(position.epoch)
            while position.batch < len(batches):
                rows = batches[position.batch]
                position.batch += 1
                yield make_batch(self.corpus, rows)
            position.epoch, position.batch = position.epoch + 1, 0

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Cross entropy of the validation rows in nats per token, end symbols counted."""
        assert self.validation_rows is not None
        self.model.eval()
        budget = self.settings.batch_tokens * _VALIDATION_BATCH_FACTOR
        batches = token_budget_batches(self.source_lengths, self.target_lengths, self.validation_rows, budget, self.seed, 0)
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for rows in batches:
            batch = make_batch(self.corpus, rows).to(self.device)
            with autocast(self.settings.precision, self.device):
                states = self.model(batch.source, batch.target_input)
                is_token = batch.target_output != PAD
                logits = self.model.logits(states[is_token])
            total -= token_log_probabilities(logits, batch.target_output[is_token]).double().sum()
            count += int(is_token.sum())
        return float(total) / count

    def _validate(self, train_loss: float, tokens_per_second: float) -> None:
        position, settings = self.position, self.settings
        loss = self.validation_loss() if self.validation_rows is not None else None
        earlier = [row.validation_loss for row in self.history if row.validation_loss is not None]
        is_best = loss is None or not earlier or loss < min(earlier)
        position.validations_without_gain = 0 if is_best else position.validations_without_gain + 1
        rate = self.schedule(position.step, settings)
        self.history.append(HistoryRow(position.step, train_loss, loss, rate))
        if settings.average_checkpoints > 1 or is_best:
            weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self.snapshots = [*self.snapshots, weights][-settings.average_checkpoints :]
        if self.on_metrics is not None:
            numbers = {"train_loss": train_loss, "learning_rate": rate, "target_tokens_per_second": tokens_per_second}
            self.on_metrics(numbers | ({"validation_loss": loss} if loss is not None else {}), position.step)
        self._save()

    def _is_out_of_patience(self) -> bool:
        return 0 < self.settings.patience <= self.position.validations_without_gain

    def _take_weights(self) -> None:
        if self.snapshots:
            self.model.load_state_dict(averaged(self.snapshots))
        self.model.eval()

    def _require_finite(self, loss: Tensor) -> None:
        if not math.isfinite(float(loss)):
            raise UserError(
                f"{self.description}: the loss is not a finite number any more at step {self.position.step}."
                " Lower learning_rate, or raise warmup_steps; the last checkpoint is kept."
            )

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        for index, snapshot in enumerate(self.snapshots):
            tensors |= {f"snapshot.{index}.{name}": tensor for name, tensor in snapshot.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        state: dict[str, Any] = {"position": asdict(self.position), "history": [asdict(row) for row in self.history]}
        self.checkpoint.save(tensors, state)

    def _resume(self) -> None:
        found = self.checkpoint.load() if self.checkpoint is not None else None
        if found is None:
            return
        tensors, state = found
        self.position = _Position(**state["position"])
        self.history = [HistoryRow(**row) for row in state["history"]]
        self.model.load_state_dict(_under("model.", tensors))
        optimizer = self.optimizer.state_dict()
        stored = _under("optimizer.", tensors)
        for name, value in stored.items():
            index, _, field = name.partition(".")
            optimizer["state"].setdefault(int(index), {})[field] = value
        self.optimizer.load_state_dict(optimizer)
        by_index: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("snapshot.", tensors).items():
            index, _, field = name.partition(".")
            by_index.setdefault(int(index), {})[field] = value.to(self.device)
        self.snapshots = [by_index[index] for index in sorted(by_index)]
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        print(f"{self.description}: going on from the checkpoint at step {self.position.step}", flush=True)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
