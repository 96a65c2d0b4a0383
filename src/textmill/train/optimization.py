"""Adam with float32 weights, for a model that computes in float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textmill.train.distributed import full_tensor, shard_like
from textmill.train.settings import TrainSettings


def computes_in_bfloat16(precision: str, device: torch.device) -> bool:
    """Decide whether the model computes in bfloat16. precision: float32, bfloat16, or auto, which means the faster one.

    bfloat16 is faster on GPUs, and on CPUs with AMX or with AMD's AVX512-BF16 (Zen 4: 1.8 times the speed of float32).
    Intel's AVX512-BF16 without AMX has 0.6 times the speed of float32 (Emerald Rapids without AMX, oneDNN 3.12).
    auto applies these rules and measures nothing: a measurement could give another answer, and another result, in the next run.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    present = torch.cpu.get_capabilities()
    is_amd = "AMD" in str(present.get("cpu_name"))
    return bool(present.get("amx_bf16") or (present.get("avx512_bf16") and is_amd))


class Optimizer:
    """Adam or AdamW, with float32 master weights in bfloat16 training (Micikevicius et al. 2018, section 3.1).

    In bfloat16 the module itself is cast, which avoids the casts of autocast. Adam updates float32 copies of the weights, and
    the module gets the rounded weights after every step.
    is_static: gradients and learning rate keep their memory addresses, as CUDA graphs require.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, device: torch.device, is_static: bool = False) -> None:
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters: list[Tensor] = list(model.parameters())
        self.clip = settings.gradient_clip
        self.weights = self.parameters  # float32
        if computes_in_bfloat16(settings.precision, device) and settings.parallel != "sharded":  # FSDP does its own rounding
            self.weights = [parameter.detach().clone().requires_grad_() for parameter in self.parameters]
            model.to(torch.bfloat16)
            self.parameters = list(model.parameters())
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        # beta2 and epsilon of Vaswani et al. 2017, section 5.3
        numbers: dict[str, Any] = {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": settings.weight_decay, "fused": True}
        rate = torch.ones((), device=device) if is_static else 1.0
        self.adam = kind(self.weights, lr=rate, capturable=is_static and device.type == "cuda", **numbers)
        self.is_static = is_static
        if is_static:
            for weight in self.weights:
                weight.grad = torch.zeros_like(weight)

    @property
    def has_copies(self) -> bool:
        """True if the trained weights are copies of the module's weights."""
        return self.weights is not self.parameters

    def collect(self) -> None:
        """Add the gradients of the module to those of the float32 copies, and clear them. Call it after every backward pass."""
        if not self.has_copies:
            return
        if self.is_static:
            pairs = [(weight.grad, parameter.grad) for weight, parameter in zip(self.weights, self.parameters, strict=True)]
            sums, gradients = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
            torch._foreach_add_(sums, gradients)
            for parameter in self.parameters:
                parameter.grad = None
            return
        for weight, parameter in zip(self.weights, self.parameters, strict=True):
            if parameter.grad is not None:
                weight.grad = parameter.grad.float() if weight.grad is None else weight.grad.add_(parameter.grad)
                parameter.grad = None

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.adam.param_groups:
            if self.is_static:
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def step(self) -> None:
        """Clip the gradients, take one step of Adam, and clear the gradients."""
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.adam.step()
        self.adam.zero_grad(set_to_none=not self.is_static)
        self._round()

    def named_weights(self) -> dict[str, Tensor]:
        """Return the float32 weights by name, as views and not as copies."""
        return {name: weight.detach() for name, weight in zip(self.names, self.weights, strict=True)}

    def state(self) -> dict[str, Tensor]:
        """Return the weights and Adam's state for a checkpoint, on the CPU. In sharded training, all processes must call it."""
        state = {f"weight.{name}": full_tensor(weight).cpu() for name, weight in self.named_weights().items()}
        for index, moments in self.adam.state_dict()["state"].items():
            state |= {f"adam.{index}.{name}": full_tensor(value).cpu() for name, value in moments.items()}
        return state

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, weight in zip(self.names, self.weights, strict=True):
            weight.copy_(shard_like(state[f"weight.{name}"], weight))
        adam = self.adam.state_dict()
        for key, value in state.items():
            kind, index, name = [*key.split(".", 2), "", ""][:3]
            if kind == "adam":
                local = value if name == "step" else shard_like(value, self.weights[int(index)])
                adam["state"].setdefault(int(index), {})[name] = local
        self.adam.load_state_dict(adam)
        self._round()

    @torch.no_grad()
    def _round(self) -> None:
        if self.has_copies:
            torch._foreach_copy_(self.parameters, self.weights)
