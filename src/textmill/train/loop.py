"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.progress import Progress
from textmill.encode.batching import Batch, epoch_rows, make_batch, padding_share, token_budget_batches, word_dropout
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.encode.sampling import ResampledEpochs
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.train.averaging import MovingAverage, averaged
from textmill.train.compiling import compile_layers
from textmill.train.cuda_graphs import StepGraphs
from textmill.train.distributed import Processes
from textmill.train.objective import Objective
from textmill.train.optimization import Optimizer, computes_in_bfloat16
from textmill.train.out_of_memory import suggest_batch_tokens
from textmill.train.profiling import profiled_steps
from textmill.train.run import HistoryRow, Run, TrainingData, TrainingResult
from textmill.train.schedules import SCHEDULES
from textmill.train.settings import TrainSettings
from textmill.train.state import TrainingState

_STEPS_BETWEEN_FINITE_CHECKS = 10
_COMPILED_DEVICES = ("cuda",)  # on a CPU, dropout takes masks from a pool, which cannot be compiled
_GRAPHED_DEVICES = ("cuda",)
_GRAPHED_PARAMETERS = 20_000_000  # `cuda_graphs: auto` records models with fewer parameters
_VALIDATION_BATCH_FACTOR = 4  # validation needs no gradients, so its batches may be larger


def fit(model: Seq2SeqModel, data: TrainingData, settings: TrainSettings, run: Run) -> TrainingResult:
    """Train `model` in place. Afterwards it has the final weights, in float32 and evaluation mode.

    Raises UserError as `Trainer` and `Trainer.run` do.
    """
    return Trainer(model, data, settings, run).run()


class Trainer:
    """Train a model on `data`. Raises UserError if there is no training or validation pair, or if the settings contradict `data`."""

    def __init__(self, model: Seq2SeqModel, data: TrainingData, settings: TrainSettings, run: Run) -> None:
        if len(data.training_rows) == 0:
            raise UserError("there is no training pair. Use more data or fewer folds.")
        if data.validation_rows is not None and len(data.validation_rows) == 0:
            raise UserError("the fold has no validation pair. Use fewer folds or a larger encode.max_tokens.")
        if settings.subword_sampling and data.tokenizer is None:
            raise UserError(f"params.yaml: {run.description}: subword_sampling works only for the fold models. Set it to 0 here.")
        if settings.stop_on == "chrf" and (run.output_score is None or data.validation_rows is None):
            raise UserError(f"params.yaml: {run.description}: stop_on: chrf works only for the fold models. Set it to loss here.")
        self.data, self.corpus, self.settings, self.this_run, self.device = data, data.corpus, settings, run, run.device
        self.model = model.to(self.device)
        self.is_compiled = settings.compile and self.device.type in _COMPILED_DEVICES
        if self.is_compiled:
            compile_layers(self.model)
        self.processes = Processes(settings.parallel, run.description)
        objective = Objective(self.model, settings.label_smoothing, settings.r_drop, self.is_compiled)
        self.processes.shard(objective, computes_in_bfloat16(settings.precision, self.device))
        is_graphed = self.device.type in _GRAPHED_DEVICES and _uses_graphs(settings, model)
        self.optimizer = Optimizer(self.model, settings, self.device, is_static=is_graphed)
        self.objective = self.processes.replicate(objective)
        self.graphs = StepGraphs(self._backward, self.optimizer.step, self.device) if is_graphed else None
        self.average = MovingAverage(self.optimizer.named_weights(), settings.ema_decay) if settings.ema_decay else None
        self.state = TrainingState(run, self.processes, self.optimizer, self.average)
        self.schedule = SCHEDULES[settings.schedule]
        self.weights = self.corpus.weight.numpy()
        self.resampled: ResampledEpochs | None = None
        if settings.subword_sampling:
            assert data.tokenizer is not None
            sampling = settings.subword_sampling, settings.subword_candidates
            self.resampled = ResampledEpochs(self.corpus, data.training_rows, data.tokenizer, *sampling, run.seed, settings.num_workers)

    def run(self) -> TrainingResult:
        """Train until max_steps or an early stop. Afterwards the model has the final weights, in float32 and evaluation mode.

        Raises UserError if the loss is no longer finite, if a batch does not fit in memory, or if torch.compile fails.
        """
        self.state.resume()
        try:
            with (
                self._naming_compiler(),
                suggest_batch_tokens(self.settings, self._try_budget),
                self.graphs.stream() if self.graphs else nullcontext(),
            ):
                stopped_early = self._train()
        finally:
            if self.resampled is not None:
                self.resampled.close()
        self._take_weights()
        best = self.validation_loss() if self.data.validation_rows is not None else None
        epochs = self.state.position.epoch + self.state.position.batch / max(self.state.position.batches, 1)
        padding = padding_share(*self.corpus.lengths(), self._batches(self.corpus, 0))
        return TrainingResult(self.state.position.step, epochs, padding, stopped_early, best, self.state.history)

    def _try_budget(self, budget: int) -> None:
        """Try whether a training step and a validation fit in memory with a smaller budget.

        The step uses the largest batch of the epoch, padding included, twice. Training has already failed, so its state may
        change. A step of the trainer itself also needs the memory for Adam's moments, weight copies and averages.
        """
        self.graphs = None  # frees their memory
        self.settings = replace(self.settings, batch_tokens=budget)
        sources, targets = self.corpus.lengths()
        longest = np.maximum(sources, targets + 1)
        try:
            largest = max(self._batches(self.corpus, self.state.position.epoch), key=lambda rows: len(rows) * int(longest[rows].max()))
            self.model.train()
            self._step(
                [make_batch(self.corpus, largest)] * 2
            )  # as with accumulate: during the second pass, the gradients of the first are in memory
            if self.data.validation_rows is not None:
                self.validation_loss()
        finally:
            self.model.zero_grad(set_to_none=True)
            self.optimizer.adam.zero_grad(set_to_none=True)

    @contextmanager
    def _naming_compiler(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"torch.compile failed: {reason} Fix it, or set compile to false.") from error

    def _train(self) -> bool:
        settings, position = self.settings, self.state.position
        if position.step >= settings.max_steps:
            return False
        if self._is_out_of_patience():
            return True
        loss_sum, losses = torch.zeros((), device=self.device), 0
        tokens, started, loading = 0, time.monotonic(), 0.0
        self.model.train()
        batches = self._endless_batches()
        progressing = Progress(self.this_run.description, settings.max_steps, "steps", position.step) if self.processes.is_first else None
        with (
            progressing or nullcontext() as progress,
            profiled_steps(self.this_run.profile_folder if settings.profile else None) as profile_step,
        ):
            while position.step < settings.max_steps:
                asked = time.monotonic()
                of_a_step = [next(batches) for _ in range(settings.accumulate)]
                loading += time.monotonic() - asked
                loss, count = self._step(of_a_step)
                profile_step()
                loss_sum += loss
                losses += 1
                tokens += count
                is_validation = position.step % settings.validation_interval == 0 or position.step == settings.max_steps
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
                last = self.state.history[-1] if self.state.history else None
                shown = f"{last.validation_loss:.3f}" if last and last.validation_loss is not None else "-"
                rate_shown = f"{tokens / (time.monotonic() - started + 1e-9):,.0f}" if tokens else "-"
                if progress is not None:
                    progress.advance(1, validation_loss=shown, target_tokens_per_second=rate_shown)
                if is_validation and self._is_out_of_patience():
                    return True
        return False

    def _step(self, batches: list[Batch]) -> tuple[Tensor, int]:
        """Take one optimizer step on the summed gradients of all batches. Returns the mean loss per target token, and their number.

        Gradients are averaged over processes, so with several processes the local loss is multiplied by the number of processes.
        The returned loss is multiplied too.
        """
        self.state.position.step += 1
        count = sum(len(batch.indices) for batch in batches)
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(batches):
            if self.graphs is not None:
                total += self.graphs.backward(batch, count)
                continue
            # With float32 copies, gradients are collected after every pass, so every pass must reduce them. Otherwise the last does.
            is_reduced = self.optimizer.has_copies or number == len(batches) - 1
            with self.processes.reducing(self.objective, is_reduced):
                total += self._backward(self.processes.local_rows(batch).to(self.device), count / self.processes.size)
        self.optimizer.set_learning_rate(self.schedule(self.state.position.step, self.settings))
        if self.graphs is not None:
            self.graphs.update()
        else:
            self.optimizer.step()
        if self.average is not None:
            self.average.update(self.optimizer.named_weights(), self.state.position.step)
        return total, count

    def _backward(self, batch: Batch, denominator: Tensor | float) -> Tensor:
        """Add the gradients of a batch to those of the step. Returns its loss. batch: on the device."""
        loss = self.objective(batch, denominator)
        loss.backward()
        self.optimizer.collect()
        out: Tensor = loss.detach()
        return out

    def _batches(self, corpus: EncodedCorpus, epoch: int) -> list[np.ndarray]:
        rows = epoch_rows(self.data.training_rows, self.weights, self.this_run.seed, epoch)
        return token_budget_batches(*corpus.lengths(), rows, self.settings.batch_tokens, self.this_run.seed, epoch)

    def _endless_batches(self) -> Iterator[Batch]:
        """Yield batches, starting at `position`. A batch depends only on seed, epoch and its number in the epoch."""
        position, settings = self.state.position, self.settings
        while True:
            corpus = self.corpus
            if self.resampled is not None:
                corpus = self.resampled[position.epoch]
            batches = self._batches(corpus, position.epoch)
            position.batches = len(batches)
            while position.batch < len(batches):
                number = position.batch
                position.batch += 1
                if self.this_run.on_rows is not None:
                    self.this_run.on_rows(batches[number])
                batch = make_batch(corpus, batches[number])
                yield (
                    word_dropout(batch, settings.token_dropout, self.this_run.seed, position.epoch, number)
                    if settings.token_dropout
                    else batch
                )
            position.epoch, position.batch = position.epoch + 1, 0

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Compute the cross entropy of the validation rows in nats per token. END counts as a token."""
        assert self.data.validation_rows is not None
        with torch.compiler.set_stance("force_eager") if self.is_compiled else nullcontext():  # too rare to compile for
            return self._validation_loss(self.data.validation_rows)

    def _validation_loss(self, validation_rows: np.ndarray) -> float:
        self.model.eval()
        budget = self.settings.batch_tokens * _VALIDATION_BATCH_FACTOR
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for rows in token_budget_batches(*self.corpus.lengths(), validation_rows, budget, self.this_run.seed, 0):
            batch = make_batch(self.corpus, rows)
            total += self.objective(self.processes.local_rows(batch).to(self.device), 1.0)
            count += len(batch.indices)
        return float(self.processes.total(total)) / count

    def _validate(self, train_loss: float, speed: Mapping[str, float]) -> None:
        position, settings = self.state.position, self.settings
        weights = self.average.average if self.average is not None else self.optimizer.named_weights()
        with self._holding(weights if self.average is not None else None):
            loss = self.validation_loss() if self.data.validation_rows is not None else None
            chrf = None
            if settings.stop_on == "chrf":
                assert self.this_run.output_score is not None and self.data.validation_rows is not None
                chrf = self.this_run.output_score(self.model.eval(), self.data.validation_rows[: settings.decoded_pairs])
        if loss is not None:
            self._require_finite(loss)  # before these weights replace a good checkpoint
        row = HistoryRow(position.step, train_loss, loss, self.schedule(position.step, settings), chrf)
        earlier = [other.goodness for other in self.state.history if other.validation_loss is not None]
        is_best = loss is None or not earlier or row.goodness > max(earlier)
        position.validations_without_gain = 0 if is_best else position.validations_without_gain + 1
        self.state.history.append(row)
        if settings.average_checkpoints > 1 or is_best:
            self.state.snapshots.append({name: weight.detach().clone() for name, weight in weights.items()})
            self.state.snapshots = self.state.snapshots[-settings.average_checkpoints :]
        self.state.save()
        if self.this_run.on_metrics is not None and self.processes.is_first:
            numbers = {"train_loss": train_loss, "learning_rate": row.learning_rate, **speed}
            numbers |= {} if loss is None else {"validation_loss": loss}
            numbers |= {} if chrf is None else {"validation_chrf": chrf}
            self.this_run.on_metrics(numbers, position.step)

    @contextmanager
    def _holding(self, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Replace the weights of the model within the body. None keeps them."""
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
        return 0 < self.settings.patience <= self.state.position.validations_without_gain

    def _take_weights(self) -> None:
        self.model.float()
        _copy(averaged(self.state.snapshots) if self.state.snapshots else self.optimizer.named_weights(), self.model)
        self.model.eval()

    def _require_finite(self, loss: Tensor | float) -> None:
        if not math.isfinite(float(loss)):
            raise UserError(
                f"the loss is no longer finite at step {self.state.position.step}."
                " Lower learning_rate, or raise warmup_steps; the last checkpoint is kept."
            )


def _uses_graphs(settings: TrainSettings, model: Seq2SeqModel) -> bool:
    """Decide whether steps are recorded as CUDA graphs; see TrainSettings.cuda_graphs."""
    if settings.cuda_graphs != "auto":
        return settings.cuda_graphs == "always"
    can_be_recorded = not settings.compile and settings.parallel == "none" and model.shape.architecture != "lstm"
    return can_be_recorded and num_parameters(model) < _GRAPHED_PARAMETERS


@torch.no_grad()
def _copy(weights: Mapping[str, Tensor], model: Seq2SeqModel) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
