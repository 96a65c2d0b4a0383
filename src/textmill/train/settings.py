"""Section train of params.yaml; distill, prune and back_translate train with the same settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class TrainSettings:
    """One training run. Its length is set in steps and not in seconds, so that it can be repeated exactly.

    batch_tokens: largest size of a batch in tokens, padding included: rows times the length of the longest side.
    max_steps: number of optimizer steps.
    validate_every: steps between two validations. `auto`: a tenth of max_steps.
    patience: stop early after this many validations without improvement; 0 never stops early.
    optimizer: adam (Kingma & Ba 2015) or adamw (Loshchilov & Hutter 2019).
    learning_rate: peak learning rate.
    weight_decay: weight decay; decoupled from the gradient with adamw, added to the gradient with adam (L2). 0 is off.
    schedule: learning rate schedule after the warm-up: inverse_sqrt (1/sqrt(step); Vaswani et al. 2017, section 5.3), cosine (half a
        cosine to 0 at max_steps), constant, or warmup_stable_decay (constant, then linear to 0 over the last decay_steps); or
        step_lr, without warm-up (the rate is multiplied by gamma every step_size steps).
    warmup_steps: steps over which the learning rate rises linearly from 0. `auto`: a sixth of max_steps, at most 4,000.
    step_size: for step_lr, steps between two drops of the learning rate.
    gamma: for step_lr, factor of the learning rate at every drop.
    label_smoothing: share of the target probability that is spread over the vocabulary (Szegedy et al. 2016); 0 is off.
    gradient_clip: largest norm of the gradient of all weights together; 0 is off.
    average_checkpoints: average the weights of this many last validations (Vaswani et al. 2017, section 6.1).
        1 takes the weights of the best validation.
    precision: float32; bfloat16, which computes in bfloat16 and trains float32 copies of the weights; or auto, which means bfloat16 on a
        GPU and on a CPU with AMX or AMD's AVX512-BF16, and float32 elsewhere, where it is faster.
    device: cpu, cuda, or auto.
    num_threads: CPU threads; a fixed number, because floating-point sums depend on it.
    decay_steps: for warmup_stable_decay, number of steps at the end in which the learning rate falls.
    ema_decay: decay of an exponential moving average of the weights, which is validated and kept instead of the weights; 0 is off.
    accumulate: number of batches whose gradients are added up for one step.
    r_drop: weight of the R-Drop loss (Liang et al. 2021), which compares two passes and doubles the time of a step; 0 is off. It is half of
        the alpha in the paper, because the loss is the mean of the two passes and not their sum.
    token_dropout: share of source and target input tokens that are replaced by the unknown token (word dropout, Bowman et al. 2016).
    subword_sampling: alpha of subword regularization (Kudo 2018, section 3.1); 0 is off. In every epoch each text gets one of its
        subword_candidates most probable segmentations, drawn by probability to the power of alpha. Needs a unigram tokenizer.
    subword_candidates: number of segmentations that subword_sampling draws from.
    num_workers: processes that segment the texts of the next epochs for subword_sampling, so that a GPU does not wait. 0 segments them
        in the training process. The result is the same.
    stop_on: metric for patience and for `average_checkpoints: 1`, which is loss, or chrf of greedy outputs for decoded_pairs pairs.
    decoded_pairs: for `stop_on: chrf`, number of validation pairs that are decoded (the first ones).
    parallel: how several processes train one fold model: none; data (every process has all weights and computes a part of every batch); or
        sharded (every process also has only a part of the weights and of the optimizer state, for models that do not fit on one device).
    processes: number of processes on this machine if parallel is not none. Each uses one GPU, or num_threads on a CPU.
    init_from: start from the weights of an earlier model (transfer learning). This is a model.safetensors, the folder that contains it, or
        its address in MLflow (`runs:/RUN/model.safetensors`). Tensors with another name or shape start at random. Empty is off.
    init_sha256: SHA-256 of the file in init_from, because DVC does not track that file.
    compile: compile the model with torch.compile, once for batches of all shapes. Only on a GPU; a CPU would gain nothing.
    cuda_graphs: record each step as a CUDA graph, one per batch shape, and replay it. Only on a GPU. It saves most of the time of a
        small model, whose kernels take longer to launch than to run. `always`, `never`, or `auto`: for models with fewer than 20 million
        parameters that are not compiled, not an LSTM, and trained in one process. Lengths and rows are rounded up to limit the shapes.
    profile: also record some steps with torch.profiler, and log a trace and a table of the slowest operators to MLflow.
    """

    batch_tokens: int = 600
    max_steps: int = 1900
    validate_every: int | Literal["auto"] = "auto"
    patience: int = 0
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    schedule: Literal["inverse_sqrt", "step_lr", "cosine", "constant", "warmup_stable_decay"] = "inverse_sqrt"
    warmup_steps: int | Literal["auto"] = "auto"
    step_size: int = 500
    gamma: float = 0.5
    label_smoothing: float = 0.1
    gradient_clip: float = 1.0
    average_checkpoints: int = 3
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = 2
    decay_steps: int = 0
    ema_decay: float = 0.0
    accumulate: int = 1
    r_drop: float = 0.0
    token_dropout: float = 0.0
    subword_sampling: float = 0.0
    subword_candidates: int = 16
    num_workers: int = 0
    stop_on: Literal["loss", "chrf"] = "loss"
    decoded_pairs: int = 200
    parallel: Literal["none", "data", "sharded"] = "none"
    processes: int = 1
    init_from: str = ""
    init_sha256: str = ""
    compile: bool = False
    cuda_graphs: Literal["auto", "always", "never"] = "auto"
    profile: bool = False

    def __post_init__(self) -> None:
        for name in (
            "batch_tokens",
            "max_steps",
            "step_size",
            "average_checkpoints",
            "num_threads",
            "accumulate",
            "subword_candidates",
            "decoded_pairs",
            "processes",
        ):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        for name in (
            "patience",
            "weight_decay",
            "gradient_clip",
            "decay_steps",
            "r_drop",
            "subword_sampling",
            "num_workers",
        ):
            require(getattr(self, name) >= 0, f"{name}: must be 0 or more.")
        require(self.validation_interval >= 1, "validate_every: must be 1 or more.")
        require(self.num_warmup_steps >= 0, "warmup_steps: must be 0 or more.")
        require(self.learning_rate > 0, "learning_rate: must be above 0.")
        require(0 <= self.label_smoothing < 1, "label_smoothing: must be at least 0 and below 1.")
        require(0 < self.gamma <= 1, "gamma: must be above 0 and at most 1.")
        for name in ("ema_decay", "token_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name}: must be at least 0 and below 1.")
        require(bool(self.init_from) == bool(self.init_sha256), "init_sha256: needed with init_from, and only then.")
        is_decaying = self.schedule == "warmup_stable_decay"
        require((self.decay_steps > 0) == is_decaying, "decay_steps: needed with schedule warmup_stable_decay, and only then.")
        is_parallel = self.parallel != "none"
        require(is_parallel or self.processes == 1, "processes: more than 1 needs parallel: data or sharded.")
        require(not is_parallel or self.stop_on == "loss", "stop_on: chrf works only with parallel: none.")
        require(not self.compile or self.parallel != "sharded", "compile: works with parallel: none or data. Set it to false.")
        # With compile and CUDA graphs together, two runs on an H100 (torch 2.11) gave different bytes.
        is_recorded = self.cuda_graphs == "always"
        require(
            not is_recorded or not (is_parallel or self.compile), "cuda_graphs: always works only with parallel: none and without compile."
        )
        require(self.num_warmup_steps < self.max_steps, "warmup_steps: must be below max_steps.")
        is_room = self.num_warmup_steps + self.decay_steps <= self.max_steps
        require(is_room, "decay_steps: plus warmup_steps must be at most max_steps, or the peak rate is never reached.")

    @property
    def validation_interval(self) -> int:
        """Steps between two validations, with `auto` resolved."""
        return max(self.max_steps // 10, 1) if self.validate_every == "auto" else self.validate_every

    @property
    def num_warmup_steps(self) -> int:
        """Number of warm-up steps, with `auto` resolved."""
        return min(self.max_steps // 6, 4000) if self.warmup_steps == "auto" else self.warmup_steps
