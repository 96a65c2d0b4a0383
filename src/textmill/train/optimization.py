"""Adam over float32 weights, for a model that computes in float32 or in bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textmill.train.distributed import full_tensor, shard_like
from textmill.train.settings import TrainSettings


def computes_in_bfloat16(precision: str, device: torch.device) -> bool:
    """precision: float32, bfloat16, or auto: bfloat16 where products of it are faster than float32's.

    That is on GPUs, and on CPUs with AMX or AMD's AVX512-BF16 (Zen 4: 1.8 times float32). Intel's AVX512-BF16 alone is at 0.6 times
    float32 (Emerald Rapids without AMX, oneDNN 3.12). A rule and not a measurement, which could end otherwise the next time.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    present = torch.cpu.get_capabilities()
    is_amd = "AMD" in str(present.get("cpu_name"))
    return bool(present.get("amx_bf16") or (present.get("avx512_bf16") and is_amd))


class Optimizer:
    """Gradients in, new weights out.

    In bfloat16 the module itself is cast, which makes products fast and spares the casts of autocast; the weights that are
    trained are float32 copies (Micikevicius et al. 2018, section 3.1), of which the module gets a rounded copy after every step.
    is_static: gradients and learning rate keep their places in memory, as CUDA graphs need it.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, device: torch.device, is_static: bool = False) -> None:
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters: list[Tensor] = list(model.parameters())
        self.clip = settings.gradient_clip
        self.weights = self.parameters  # float32
        if computes_in_bfloat16(settings.precision, device) and settings.parallel != "sharded":  # which rounds by itself
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
        """Are the trained weights others than the module's?"""
        return self.weights is not self.parameters

    def collect(self) -> None:
        """Add the module's gradients to those of the weights, in float32, and clear them; call it after every backward pass."""
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
        """Of the next steps."""
        for group in self.adam.param_groups:
            if self.is_static:
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def step(self) -> None:
        """Clip, take one step of Adam, and clear the gradients."""
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.adam.step()
        self.adam.zero_grad(set_to_none=not self.is_static)
        self._round()

    def named_weights(self) -> dict[str, Tensor]:
        """The float32 weights by the module's names: views, not copies."""
        return {name: weight.detach() for name, weight in zip(self.names, self.weights, strict=True)}

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs, the weights included, on the CPU; sharded, all processes have to call it."""
        state = {f"weight.{name}": full_tensor(weight).cpu() for name, weight in self.named_weights().items()}
        for index, moments in self.adam.state_dict()["state"].items():
            state |= {f"adam.{index}.{name}": full_tensor(value).cpu() for name, value in moments.items()}
        return state

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        for name, weight in zip(self.names, self.weights, strict=True):
            weight.copy_(shard_like(state[f"weight.{name}"], weight))
        adam = self.adam.state_dict()
        for key, value in state.items():
            kind, index, name = [*key.split(".", 2), "", ""][:3]
            if kind == "adam":
                cut = value if name == "step" else shard_like(value, self.weights[int(index)])
                adam["state"].setdefault(int(index), {})[name] = cut
        self.adam.load_state_dict(adam)
        self._round()

    @torch.no_grad()
    def _round(self) -> None:
        if self.has_copies:
            torch._foreach_copy_(self.parameters, self.weights)
