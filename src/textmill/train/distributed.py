"""One training in several processes: data parallel (DDP) or sharded (FSDP2), over the process group that torchrun has set up.

All ranks compute the same list of batches and take every R-th row of each, so that a step is the step that one process would
make. Li et al. 2020 (PyTorch Distributed) for data parallel, Rajbhandari et al. 2020 (ZeRO, stage 3) for sharded.
What sharding needs of torch is imported where it is used: it takes most of a second, and few trainings are sharded.
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
    """The processes that train one model together, seen from one of them. Alone (parallel: none), everything here is the identity."""

    def __init__(self, parallel: str, description: str) -> None:
        """parallel: none, data or sharded. Raises UserError if it is not none and there is no process group."""
        self.parallel = parallel
        self.rank, self.size = 0, 1
        if parallel != "none":
            if not distributed.is_initialized():
                raise UserError(f"params.yaml: {description}: parallel is for the models of the folds. Set it to none here.")
            self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    @property
    def is_first(self) -> bool:
        """Is this the process that writes and reports?"""
        return self.rank == 0

    def shard(self, objective: Objective, computes_in_bfloat16: bool) -> None:
        """Sharded: leave every process its part of each weight, in place. Call it before the optimizer takes the parameters.

        The policy rounds weights for the computation, in place of the optimizer's copies, and adds gradients up in float32.
        """
        if self.parallel != "sharded":
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

        policy = MixedPrecisionPolicy(torch.bfloat16 if computes_in_bfloat16 else None, torch.float32)
        mesh = init_device_mesh(
            objective.model.output_projection()[1].device.type, (self.size,)
        )  # by default a GPU's, even if the model is on the CPU
        stacks = [stack for stack in objective.model.children() if isinstance(stack, nn.ModuleList)]
        for layer in (layer for stack in stacks for layer in stack):
            cross_attention = getattr(layer, "cross_attention", None)
            if cross_attention is not None:
                # Projects the source before the layer itself is called, which would be too early for the layer's hooks.
                fully_shard(cross_attention, mesh=mesh, mp_policy=policy)
                for method in ("project", "look"):
                    register_fsdp_forward_method(cross_attention, method)
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        # torch leaves the outermost module's weights whole after a pass without gradients, while others are written into them.
        fully_shard(objective, mesh=mesh, mp_policy=policy, reshard_after_forward=True)

    def replicate(self, objective: Objective) -> nn.Module:
        """Data parallel: the module to call for a loss whose gradients are means over all processes. Call it behind the optimizer's casts."""
        if self.parallel != "data":
            return objective
        return DistributedDataParallel(objective, broadcast_buffers=False)

    @contextmanager
    def reducing(self, module: nn.Module, is_reduced: bool) -> Iterator[None]:
        """Within the body, a backward pass through `module` reduces gradients over the processes, or only adds them up here."""
        if self.parallel == "sharded":
            cast(Any, module).set_requires_gradient_sync(is_reduced)  # fully_shard has made it an FSDPModule
            yield
        elif isinstance(module, DistributedDataParallel) and not is_reduced:
            with module.no_sync():
                yield
        else:
            yield

    def local_rows(self, batch: Batch) -> Batch:
        """This process's rows of a batch: rank, rank + size, ...

        A rank with none gets the first row without any target token: it has to take part in the passes, and adds nothing.
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
        """Sum over all processes, the same on each."""
        if self.size == 1:
            return number
        number = number.clone()
        distributed.all_reduce(number)
        return number

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every rank; all have one shape."""
        if self.size == 1:
            return [tensor]
        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(tensors, tensor)
        return tensors


def full_tensor(tensor: Tensor) -> Tensor:
    """A sharded tensor put together, any other as it is. All processes have to call it, in the same order."""
    return cast(Any, tensor).full_tensor() if _is_sharded(tensor) else tensor


def shard_like(tensor: Tensor, model: Tensor) -> Tensor:
    """A whole tensor, the same in all processes, cut as `model` is; the inverse of `whole`."""
    if not _is_sharded(model):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded = cast(Any, model)
    return distribute_tensor(tensor.to(model.device), sharded.device_mesh, sharded.placements, src_data_rank=None)


def _is_sharded(tensor: Tensor) -> bool:
    """Is it a DTensor? Asked without importing that class, which takes a stage that has none half a second."""
    return hasattr(tensor, "full_tensor")


def whole_weights(named: Iterable[tuple[str, Any]]) -> dict[str, Tensor]:
    """`whole` of all weights, on the CPU."""
    return {name: full_tensor(weight.detach()).cpu() for name, weight in named}
