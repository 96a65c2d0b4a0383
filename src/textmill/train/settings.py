"""Section train of params.yaml; distill, prune and back_translate train with the same settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class TrainSettings:
    """One training run. Its length is counted in steps, never in seconds, so that it can be repeated.

    batch_tokens: rows times the longest side of a batch, padding included, is at most this.
    max_steps: optimizer steps. validate_every: steps between validations.
    patience: validations without a better loss before stopping early; 0 never stops early.
    optimizer: adam (Kingma & Ba 2015) or adamw (Loshchilov & Hutter 2019). learning_rate: the highest.
    weight_decay: of adamw, decoupled from the gradient; adam adds it to the gradient (L2). 0: none.
    schedule: inverse_sqrt (linear warm-up, then 1/sqrt(step); Vaswani et al. 2017, section 5.3), step_lr (every
        `step_size` steps times `gamma`), cosine (warm-up, then a half cosine to 0 at max_steps), constant, warmup_stable_decay
        (warm-up, the highest rate, and over the last `decay_steps` linearly to 0).
    warmup_steps: over which the learning rate rises linearly from 0. decay_steps: of warmup_stable_decay alone.
    step_size: steps between two drops of step_lr. gamma: what it multiplies the learning rate by.
    label_smoothing: Szegedy et al. 2016. gradient_clip: largest norm of all gradients; 0 does not clip.
    average_checkpoints: the weights at this many of the last validations are averaged (Vaswani et al. 2017, section 6.1);
        1 takes the best validation alone.
    precision: float32; bfloat16, which computes in bfloat16 and trains float32 copies of the weights; or auto: bfloat16 on a GPU
        and on a CPU with AMX or AMD's AVX512-BF16, float32 elsewhere, where it is faster.
    device: cpu, cuda, or auto. num_threads: of the CPU; fixed, because sums depend on it.
    ema_decay: of an exponential moving average of the weights, which is then validated and kept in their place; 0: none.
    accumulate: batches whose gradients are added up for one step.
    r_drop: weight of the consistency of two passes (Liang et al. 2021), which take twice the time; 0: off. Half of the paper's alpha,
        since the loss is a mean over the two passes and not their sum.
    token_dropout: share of source and earlier target tokens that the model reads as unknown (word dropout, Bowman et al. 2016).
    subword_sampling: alpha of subword regularization (Kudo 2018, section 3.1): each text is cut anew in every epoch, into one of
        its `subword_candidates` likeliest segmentations, with their probability to the power alpha; 0: off. Needs a unigram tokenizer.
    subword_candidates: segmentations that subword_sampling draws from.
    num_workers: processes that cut the texts of the coming epochs for subword_sampling, which a GPU would wait for; the result is the same.
        0: the training does it itself.
    stop_on: what `patience` and `average_checkpoints: 1` look at: `loss`, or `chrf`: of greedy outputs for the first `decoded_pairs`
        validation pairs. decoded_pairs: how many that are.
    parallel: how several processes train one model of a fold: none; data (each holds all weights, and takes a part of every batch);
        or sharded (each also holds only its part of weights and optimizer, for what does not fit on one device).
    processes: on this machine, with `parallel`: one a GPU, or each with `num_threads` on a CPU.
    init_from: the weights of an earlier model to start from (transfer): its model.safetensors, the folder with it, or its address
        in MLflow (`runs:/RUN/model.safetensors`); what has another name or shape starts at random. Empty: all starts at random.
        init_sha256: of that model.safetensors, since DVC does not follow it.
    compile: on a GPU, the model by torch.compile, once for batches of all shapes: fewer and larger kernels. On a CPU, where it does
        not pay, nothing is compiled.
    cuda_graphs: on a GPU, record each step as a CUDA graph per shape of a batch and replay it, which spares a small model most of its time:
        its kernels take longer to launch than to run. `auto`: for models of fewer than 20 million parameters that are not compiled,
        in one process, and no LSTM; `always`; or `never`. Lengths and rows are rounded up, so that few shapes occur. A CPU has none.
    profile: also write a trace of some steps by torch.profiler, and a table of the operators that took longest, to MLflow.
    """

    batch_tokens: int
    max_steps: int
    validate_every: int
    patience: int
    optimizer: Literal["adam", "adamw"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["inverse_sqrt", "step_lr", "cosine", "constant", "warmup_stable_decay"]
    warmup_steps: int
    step_size: int
    gamma: float
    label_smoothing: float
    gradient_clip: float
    average_checkpoints: int
    precision: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "cuda"]
    num_threads: int
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
            "validate_every",
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
            "warmup_steps",
            "gradient_clip",
            "decay_steps",
            "r_drop",
            "subword_sampling",
            "num_workers",
        ):
            require(getattr(self, name) >= 0, f"{name}: must be 0 or more.")
        require(self.learning_rate > 0, "learning_rate: must be above 0.")
        require(0 <= self.label_smoothing < 1, "label_smoothing: must be at least 0 and below 1.")
        require(0 < self.gamma <= 1, "gamma: must be above 0 and at most 1.")
        for name in ("ema_decay", "token_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name}: must be at least 0 and below 1.")
        require(bool(self.init_from) == bool(self.init_sha256), "init_sha256: needed with init_from, and only there.")
        is_decaying = self.schedule == "warmup_stable_decay"
        require((self.decay_steps > 0) == is_decaying, "decay_steps: needed with schedule warmup_stable_decay, and only there.")
        is_parallel = self.parallel != "none"
        require(is_parallel or self.processes == 1, "processes: more than 1 needs parallel: data or sharded.")
        require(not is_parallel or self.stop_on == "loss", "stop_on: chrf works with parallel: none alone.")
        require(not self.compile or self.parallel != "sharded", "compile: works with parallel: none or data. Set it to false.")
        # Compiled and recorded, two runs on an H100 (torch 2.11) did not end with the same bytes.
        is_recorded = self.cuda_graphs == "always"
        require(not is_recorded or not (is_parallel or self.compile), "cuda_graphs: always works with parallel: none and without compile.")
        require(self.warmup_steps < self.max_steps, "warmup_steps: must be below max_steps.")
        is_room = self.warmup_steps + self.decay_steps <= self.max_steps
        require(is_room, "decay_steps: with warmup_steps must be at most max_steps, or the highest rate is never reached.")
