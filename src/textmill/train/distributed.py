"""Train one model in several processes: data parallel (DDP) or sharded (FSDP2), over the process group set up by torchrun.

All ranks compute the same list of batches, and each of the R ranks takes every R-th row. A step is therefore the same as with
one process. Li et al. 2020 (PyTorch Distributed) describe data parallel, Rajbhandari et al. 2020 (ZeRO, stage 3) sharded training.
torch's modules for sharding are imported inside functions: the import takes most of a second, and few trainings are sharded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from textmill.base.errors import UserError
from textmill.encode.batching import Batch
from textmill.train.objective import Objective


class Processes:
    """The group of processes that train one model. With parallel: none, all methods are the identity."""

    def __init__(self, parallel: str, description: str) -> None:
        """parallel: none, data or sharded. Raises UserError if parallel is not none and there is no process group."""
        self.parallel = parallel
        self.rank, self.size = 0, 1
        if parallel != "none":
            if not distributed.is_initialized():
                raise UserError(f"params.yaml: {description}: parallel works only for the fold models. Set it to none here.")
            self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    @property
    def is_first(self) -> bool:
        """True for the process that writes files and reports."""
        return self.rank == 0

    def shard(self, objective: Objective, computes_in_bfloat16: bool) -> None:
        """Shard each weight over the processes, in place, if parallel is sharded. Call it before the optimizer is created.

        FSDP's mixed precision policy rounds the weights for the computation (the optimizer keeps no copies then), and reduces
        gradients in float32.
        """
        if self.parallel != "sharded":
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

        policy = MixedPrecisionPolicy(torch.bfloat16 if computes_in_bfloat16 else None, torch.float32)
        mesh = init_device_mesh(
            objective.model.output_projection()[1].device.type, (self.size,)
        )  # the default is the GPU, even if the model is on the CPU
        stacks = [stack for stack in objective.model.children() if isinstance(stack, nn.ModuleList)]
        for layer in (layer for stack in stacks for layer in stack):
            cross_attention = getattr(layer, "cross_attention", None)
            if cross_attention is not None:
                # The model projects the source before it calls the layer, so the hooks of the layer would run too late.
                fully_shard(cross_attention, mesh=mesh, mp_policy=policy)
                for method in ("project_kv", "cross_attend"):
                    register_fsdp_forward_method(cross_attention, method)
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        # By default torch does not reshard the root module after a pass without gradients, but other weights are copied into it.
        fully_shard(objective, mesh=mesh, mp_policy=policy, reshard_after_forward=True)

    def replicate(self, objective: Objective) -> nn.Module:
        """Wrap the objective with DDP, which averages gradients, if parallel is data. Call it after the optimizer's casts."""
        if self.parallel != "data":
            return objective
        return DistributedDataParallel(objective, broadcast_buffers=False)

    @contextmanager
    def reducing(self, module: nn.Module, is_reduced: bool) -> Iterator[None]:
        """In the body, a backward pass through `module` reduces gradients over the processes, or only accumulates them locally."""
        if self.parallel == "sharded":
            cast(Any, module).set_requires_gradient_sync(is_reduced)  # fully_shard has made it an FSDPModule
            yield
        elif isinstance(module, DistributedDataParallel) and not is_reduced:
            with module.no_sync():
                yield
        else:
            yield

    def local_rows(self, batch: Batch) -> Batch:
        """Return the rows of a batch for this process: rank, rank + size, ...

        A rank without rows gets the first row with no target tokens: it must take part in the passes but contributes nothing.
        """
        if self.size == 1:
            return batch
        rows, width = batch.target_output.shape
        row, column = batch.indices // width, batch.indices % width
        is_mine = row % self.size == self.rank
        indices = row[is_mine] // self.size * width + column[is_mine]
        mine = slice(self.rank, None, self.size) if self.rank < rows else slice(0, 1)
        return Batch(batch.source[mine], batch.target_input[mine], batch.target_output[mine], indices)

    def total(self, number: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size == 1:
            return number
        number = number.clone()
        distributed.all_reduce(number)
        return number

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every rank. All tensors must have the same shape."""
        if self.size == 1:
            return [tensor]
        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(tensors, tensor)
        return tensors


def full_tensor(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor; return any other tensor unchanged. All processes must call it, in the same order."""
    return cast(Any, tensor).full_tensor() if _is_sharded(tensor) else tensor


def shard_like(tensor: Tensor, model: Tensor) -> Tensor:
    """Shard a full tensor like `model`, the inverse of `full_tensor`. All processes must pass the same tensor."""
    if not _is_sharded(model):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded = cast(Any, model)
    return distribute_tensor(tensor.to(model.device), sharded.device_mesh, sharded.placements, src_data_rank=None)


def _is_sharded(tensor: Tensor) -> bool:
    """Check whether a tensor is a DTensor, without importing that class: the import takes half a second."""
    return hasattr(tensor, "full_tensor")


def whole_weights(named: Iterable[tuple[str, Any]]) -> dict[str, Tensor]:
    """Gather all weights on the CPU."""
    return {name: full_tensor(weight.detach()).cpu() for name, weight in named}
