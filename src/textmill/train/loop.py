"""The training loop: batches in, a trained model and its learning curve out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.progress import Progress
from textmill.encode.batching import Batch, epoch_rows, make_batch, padding_share, token_budget_batches, with_unknown
from textmill.encode.sampling import ResampledEpochs
from textmill.encode.shards import EncodedCorpus
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.averaging import MovingAverage, averaged
from textmill.train.checkpoints import CheckpointFile
from textmill.train.compiling import compile_layers
from textmill.train.cuda_graphs import StepGraphs
from textmill.train.distributed import Processes, like, whole
from textmill.train.memory import naming_what_fits
from textmill.train.objective import Objective
from textmill.train.optimization import Optimizer, computes_in_bfloat16
from textmill.train.profiling import profiled_steps
from textmill.train.schedules import SCHEDULES
from textmill.train.settings import TrainSettings

_STEPS_BETWEEN_FINITE_CHECKS = 10
_COMPILED_DEVICES = ("cuda",)  # a CPU's dropout takes masks from a pool, which cannot be compiled
_GRAPHED_DEVICES = ("cuda",)
_GRAPHED_PARAMETERS = 20_000_000  # `cuda_graphs: auto` is for models with fewer
_VALIDATION_BATCH_FACTOR = 4  # no gradients: a batch of validation may be larger

OnMetrics = Callable[[dict[str, float], int], None]
OutputScore = Callable[[Seq2SeqModel, np.ndarray], float]  # of greedy outputs for rows of the corpus, chrF


@dataclass(frozen=True)
class HistoryRow:
    """One validation. train_loss: mean since the one before, label smoothing included; losses in nats per token.

    validation_loss: cross entropy without smoothing, None without a validation set. chrf: of greedy outputs, None unless
    `stop_on` asks for it.
    """

    step: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    chrf: float | None = None


@dataclass
class TrainingResult:
    """How a training ended. best_validation_loss: of the weights that are kept, None without a validation set.

    padding_share: of all positions in the batches of the first epoch, before subword sampling cuts the texts anew.
    """

    steps: int
    epochs: float
    padding_share: float
    stopped_early: bool
    best_validation_loss: float | None
    history: list[HistoryRow]


@dataclass
class _Position:
    """Where a training stands: enough, with the tensors, to go on exactly."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # the next one of the epoch
    batches: int = 0  # in the epoch; 0 before the first
    validations_without_gain: int = 0


class Trainer:
    """Trains `model` on the rows `training_rows` of `corpus`.

    validation_rows: rows for the validation loss, or None: then nothing stops early and the last weights are kept.
    checkpoint: where the state is kept for resuming, or None. on_metrics: called at every validation with numbers and step.
    tokenizer: needed for subword sampling. output_score: needed for `stop_on: chrf`. on_rows: told the rows of every batch.
    profile_folder: where `profile` writes, or None.
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
        tokenizer: Tokenizer | None = None,
        output_score: OutputScore | None = None,
        on_rows: Callable[[np.ndarray], None] | None = None,
        profile_folder: Path | None = None,
    ) -> None:
        if len(training_rows) == 0:
            raise UserError("train: there is no training pair. Use more data or fewer folds.")
        if validation_rows is not None and len(validation_rows) == 0:
            raise UserError("train: the fold has no validation pair. Use fewer folds or a larger encode.max_tokens.")
        if settings.subword_sampling and tokenizer is None:
            raise UserError(f"params.yaml: {description}: subword_sampling is for the models of the folds. Set it to 0 here.")
        if settings.stop_on == "chrf" and (output_score is None or validation_rows is None):
            raise UserError(f"params.yaml: {description}: stop_on chrf is for the models of the folds. Set it to loss here.")
        self.model = model.to(device)
        self.is_compiled = settings.compile and device.type in _COMPILED_DEVICES
        if self.is_compiled:
            compile_layers(self.model)
        self.corpus, self.settings, self.seed, self.device = corpus, settings, seed, device
        self.training_rows, self.validation_rows = training_rows, validation_rows
        self.checkpoint, self.on_metrics, self.description = checkpoint, on_metrics, description
        self.tokenizer, self.output_score, self.on_rows = tokenizer, output_score, on_rows
        self.profile_folder = profile_folder if settings.profile else None
        self.processes = Processes(settings.parallel, description)
        objective = Objective(self.model, settings.label_smoothing, settings.r_drop, self.is_compiled)
        self.processes.shard(objective, computes_in_bfloat16(settings.precision, device))
        is_graphed = device.type in _GRAPHED_DEVICES and _uses_graphs(settings, model)
        self.optimizer = Optimizer(self.model, settings, device, is_static=is_graphed)
        self.objective = self.processes.replicate(objective)
        self.graphs = StepGraphs(self._backward, self.optimizer.step, device) if is_graphed else None
        if not self.processes.is_first:
            torch.manual_seed(_seed_of(seed, self.processes.rank, 0))  # other rows, so other dropout
        self.average = MovingAverage(self.optimizer.named_weights(), settings.ema_decay) if settings.ema_decay else None
        self.schedule = SCHEDULES[settings.schedule]
        self.weights = corpus.weight.numpy()
        self.resampled: ResampledEpochs | None = None
        if settings.subword_sampling:
            assert tokenizer is not None
            sampling = settings.subword_sampling, settings.subword_candidates
            self.resampled = ResampledEpochs(corpus, training_rows, tokenizer, *sampling, seed, settings.num_workers)
        self.position = _Position()
        self.history: list[HistoryRow] = []
        self.snapshots: list[dict[str, Tensor]] = []  # of the last validations; with average_checkpoints 1, of the best

    def run(self) -> TrainingResult:
        """Train to max_steps or to an early stop. Afterwards the model holds the weights to keep, in float32 and evaluation mode.

        Raises UserError if the loss is not finite any more, a batch does not fit in memory, or `compile` finds no compiler.
        """
        self._resume()
        try:
            with self._naming_compiler(), naming_what_fits(self), self.graphs.stream() if self.graphs else nullcontext():
                stopped_early = self._train()
        finally:
            if self.resampled is not None:
                self.resampled.close()
        self._take_weights()
        best = self.validation_loss() if self.validation_rows is not None else None
        epochs = self.position.epoch + self.position.batch / max(self.position.batches, 1)
        padding = padding_share(*self.corpus.lengths(), self._batches(self.corpus, 0))
        return TrainingResult(self.position.step, epochs, padding, stopped_early, best, self.history)

    @contextmanager
    def _naming_compiler(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"{self.description}: torch.compile failed: {reason} Mend that, or set compile to false.") from error

    def _train(self) -> bool:
        settings, position = self.settings, self.position
        if position.step >= settings.max_steps:
            return False
        if self._is_out_of_patience():
            return True
        loss_sum, losses = torch.zeros((), device=self.device), 0
        tokens, started, loading = 0, time.monotonic(), 0.0
        self.model.train()
        batches = self._endless_batches()
        progressing = Progress(self.description, settings.max_steps, "steps", position.step) if self.processes.is_first else None
        with progressing or nullcontext() as progress, profiled_steps(self.profile_folder) as profile_step:
            while position.step < settings.max_steps:
                asked = time.monotonic()
                of_a_step = [next(batches) for _ in range(settings.accumulate)]
                loading += time.monotonic() - asked
                loss, count = self._step(of_a_step)
                profile_step()
                loss_sum += loss
                losses += 1
                tokens += count
                is_validation = position.step % settings.validate_every == 0 or position.step == settings.max_steps
                if is_validation or position.step % _STEPS_BETWEEN_FINITE_CHECKS == 0:
                    reduced = self.processes.total(loss_sum) / self.processes.size
                    self._require_finite(reduced)
                if is_validation:
                    seconds = time.monotonic() - started
                    speed = {"target_tokens_per_second": tokens / seconds, "loading_share": loading / seconds}
                    self._validate(float(reduced) / losses, speed)
                    loss_sum, losses = torch.zeros((), device=self.device), 0
                    tokens, started, loading = 0, time.monotonic(), 0.0
                    self.model.train()
                last = self.history[-1] if self.history else None
                shown = f"{last.validation_loss:.3f}" if last and last.validation_loss is not None else "-"
                rate_shown = f"{tokens / (time.monotonic() - started + 1e-9):,.0f}" if tokens else "-"
                if progress is not None:
                    progress.advance(1, validation_loss=shown, target_tokens_per_second=rate_shown)
                if is_validation and self._is_out_of_patience():
                    return True
        return False

    def _step(self, batches: list[Batch]) -> tuple[Tensor, int]:
        """One step on the gradients of all `batches` together. Returns the mean loss of a target token, and their number.

        With several processes, this one's rows count `size` times, since gradients are averaged over them; so does the loss returned.
        """
        self.position.step += 1
        count = sum(len(batch.places) for batch in batches)
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(batches):
            if self.graphs is not None:
                total += self.graphs.backward(batch, count)
                continue
            # Copies take the gradients after every pass, so each has to be reduced; else the last reduces all.
            is_reduced = self.optimizer.has_copies or number == len(batches) - 1
            with self.processes.reducing(self.objective, is_reduced):
                total += self._backward(self.processes.share(batch).to(self.device), count / self.processes.size)
        self.optimizer.set_learning_rate(self.schedule(self.position.step, self.settings))
        if self.graphs is not None:
            self.graphs.update()
        else:
            self.optimizer.step()
        if self.average is not None:
            self.average.update(self.optimizer.named_weights(), self.position.step)
        return total, count

    def _backward(self, batch: Batch, denominator: Tensor | float) -> Tensor:
        """Add the gradients of a batch on the device to those of the step. Returns its loss."""
        loss = self.objective(batch, denominator)
        loss.backward()
        self.optimizer.collect()
        out: Tensor = loss.detach()
        return out

    def _batches(self, corpus: EncodedCorpus, epoch: int) -> list[np.ndarray]:
        rows = epoch_rows(self.training_rows, self.weights, self.seed, epoch)
        return token_budget_batches(*corpus.lengths(), rows, self.settings.batch_tokens, self.seed, epoch)

    def _endless_batches(self) -> Iterator[Batch]:
        """From the next batch of `position` on; a batch depends on (seed, epoch, its number) alone."""
        position, settings = self.position, self.settings
        while True:
            corpus = self.corpus
            if self.resampled is not None:
                corpus = self.resampled[position.epoch]
            batches = self._batches(corpus, position.epoch)
            position.batches = len(batches)
            while position.batch < len(batches):
                number = position.batch
                position.batch += 1
                if self.on_rows is not None:
                    self.on_rows(batches[number])
                batch = make_batch(corpus, batches[number])
                yield with_unknown(batch, settings.token_dropout, self.seed, position.epoch, number) if settings.token_dropout else batch
            position.epoch, position.batch = position.epoch + 1, 0

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Cross entropy of the validation rows in nats per token, end symbols counted."""
        assert self.validation_rows is not None
        with torch.compiler.set_stance("force_eager") if self.is_compiled else nullcontext():  # seldom: compiling would take longer
            return self._validation_loss(self.validation_rows)

    def _validation_loss(self, validation_rows: np.ndarray) -> float:
        self.model.eval()
        budget = self.settings.batch_tokens * _VALIDATION_BATCH_FACTOR
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for rows in token_budget_batches(*self.corpus.lengths(), validation_rows, budget, self.seed, 0):
            batch = make_batch(self.corpus, rows)
            total += self.objective(self.processes.share(batch).to(self.device), 1.0)
            count += len(batch.places)
        return float(self.processes.total(total)) / count

    def _validate(self, train_loss: float, speed: Mapping[str, float]) -> None:
        position, settings = self.position, self.settings
        weights = self.average.average if self.average is not None else self.optimizer.named_weights()
        with self._holding(weights if self.average is not None else None):
            loss = self.validation_loss() if self.validation_rows is not None else None
            chrf = None
            if settings.stop_on == "chrf":
                assert self.output_score is not None and self.validation_rows is not None
                chrf = self.output_score(self.model.eval(), self.validation_rows[: settings.decoded_pairs])
        if loss is not None:
            self._require_finite(loss)  # of the weights behind the last step, before they replace a good checkpoint
        row = HistoryRow(position.step, train_loss, loss, self.schedule(position.step, settings), chrf)
        earlier = [_goodness(other) for other in self.history if other.validation_loss is not None]
        is_best = loss is None or not earlier or _goodness(row) > max(earlier)
        position.validations_without_gain = 0 if is_best else position.validations_without_gain + 1
        self.history.append(row)
        if settings.average_checkpoints > 1 or is_best:
            self.snapshots.append({name: weight.detach().clone() for name, weight in weights.items()})
            self.snapshots = self.snapshots[-settings.average_checkpoints :]
        self._save()
        if self.on_metrics is not None and self.processes.is_first:
            numbers = {"train_loss": train_loss, "learning_rate": row.learning_rate, **speed}
            numbers |= {} if loss is None else {"validation_loss": loss}
            numbers |= {} if chrf is None else {"validation_chrf": chrf}
            self.on_metrics(numbers, position.step)

    @contextmanager
    def _holding(self, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Let the model hold other weights for a while; None: its own."""
        if weights is None:
            yield
            return
        own = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        _copy(weights, self.model)
        try:
            yield
        finally:
            _copy(own, self.model)

    def _is_out_of_patience(self) -> bool:
        return 0 < self.settings.patience <= self.position.validations_without_gain

    def _take_weights(self) -> None:
        self.model.float()
        _copy(averaged(self.snapshots) if self.snapshots else self.optimizer.named_weights(), self.model)
        self.model.eval()

    def _require_finite(self, loss: Tensor | float) -> None:
        if not math.isfinite(float(loss)):
            raise UserError(
                f"{self.description}: the loss is not a finite number any more at step {self.position.step}."
                " Lower learning_rate, or raise warmup_steps; the last checkpoint is kept."
            )

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": whole(tensor).cpu() for name, tensor in self.average.average.items()}
        for index, snapshot in enumerate(self.snapshots):
            tensors |= {f"snapshot.{index}.{name}": whole(tensor).cpu() for name, tensor in snapshot.items()}
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        for kind, random in states.items():
            tensors |= {f"random.{kind}.{rank}": state for rank, state in enumerate(self.processes.gathered(random))}
        if not self.processes.is_first:
            return
        state: dict[str, Any] = {"position": asdict(self.position), "history": [asdict(row) for row in self.history]}
        self.checkpoint.save(tensors, state)

    def _resume(self) -> None:
        found = self.checkpoint.load() if self.checkpoint is not None else None
        if found is None:
            return
        tensors, state = found
        self.position = _Position(**state["position"])
        self.history = [HistoryRow(**row) for row in state["history"]]
        self.optimizer.load(_under("optimizer.", tensors))
        if self.average is not None:
            for name, value in self.average.average.items():
                value.copy_(like(tensors[f"average.{name}"], value))
        weights = self.optimizer.named_weights()
        by_index: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("snapshot.", tensors).items():
            index, _, field = name.partition(".")
            by_index.setdefault(int(index), {})[field] = like(value.to(self.device), weights[field])
        self.snapshots = [by_index[index] for index in sorted(by_index)]
        self._resume_random_states(tensors)
        if self.processes.is_first:
            print(f"{self.description}: going on from the checkpoint at step {self.position.step}", flush=True)

    def _resume_random_states(self, tensors: Mapping[str, Tensor]) -> None:
        rank = self.processes.rank
        states = {kind: tensors.get(f"random.{kind}.{rank}") for kind in ("cpu", "cuda")}
        # Of fewer processes, or of a CPU where a GPU goes on: masks of its own.
        torch.manual_seed(_seed_of(self.seed, rank, self.position.step))
        if states["cpu"] is not None:
            torch.set_rng_state(states["cpu"])
        if states["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.device)


def _uses_graphs(settings: TrainSettings, model: Seq2SeqModel) -> bool:
    """See TrainSettings.cuda_graphs."""
    if settings.cuda_graphs != "auto":
        return settings.cuda_graphs == "always"
    can_be_recorded = not settings.compile and settings.parallel == "none" and model.shape.architecture != "lstm"
    return can_be_recorded and num_parameters(model) < _GRAPHED_PARAMETERS


def _seed_of(seed: int, rank: int, step: int) -> int:
    return int(np.random.default_rng([seed, rank, step]).integers(1 << 62))


def _goodness(row: HistoryRow) -> float:
    if row.chrf is not None:
        return row.chrf
    assert row.validation_loss is not None
    return -row.validation_loss


@torch.no_grad()
def _copy(weights: Mapping[str, Tensor], model: Seq2SeqModel) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
