"""Several processes that train one model: FSDP2 over the data, DTensor plans over the matrices, started by torchrun.

The models know nothing of it. Ranks form a mesh [data, tensor]; parameters, gradients and optimiser states are sharded
over `data` layer by layer (Rajbhandari et al. 2019, arXiv:1910.02054; torch's `fully_shard`), and matrices also over
`tensor` where a plan says how (`plans`). Gradients are added, not averaged: the loop divides by the step's weight.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.models.base import Model
from idiolect.train.config import TrainConfig
from idiolect.train.layers import layers_of
from idiolect.train.plans import Plan, plan_of
from idiolect.train.precision import COMPUTE
from idiolect.train.ranks import Ranks


def launched() -> bool:
    """Whether torchrun started this process among others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class Group(Ranks):
    """This process and the others. Leaves the process group when closed."""

    sharded = True

    def __init__(self, config: TrainConfig) -> None:
        """Join. Raises `BadInput` when the processes cannot be divided as `config.tensor` says."""
        world = int(os.environ["WORLD_SIZE"])
        if world % config.tensor:
            raise BadInput(f"{world} processes are not divided by tensor {config.tensor}", hint="change train.tensor")
        kind = torch.device(config.device).type
        if kind == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        self._joined = not dist.is_initialized()
        if self._joined:
            dist.init_process_group("nccl" if kind == "cuda" else "gloo")
        self.mesh = torch.distributed.init_device_mesh(
            kind, (world // config.tensor, config.tensor), mesh_dim_names=("data", "tensor")
        )
        self.device = kind
        self.process = dist.get_rank()
        self.rank, self.world = self.mesh["data"].get_local_rank(), world // config.tensor
        self.tensor = config.tensor
        self._data = self.mesh["data"].get_group()
        self.plan: Plan | None = None

    @property
    def main(self) -> bool:
        return self.process == 0

    def add(self, values: Tensor) -> Tensor:
        sums = values.to(self.device)
        dist.all_reduce(sums, group=self._data)
        return sums.cpu()

    def barrier(self) -> None:
        dist.barrier()

    def close(self) -> None:
        if self._joined and dist.is_initialized():
            dist.destroy_process_group()

    # ------------------------------------------------------------------------------------------------ the model

    def shard(self, model: Model, config: TrainConfig) -> None:
        """Shard a model in place, in the dtypes that `config.precision` says: `mixed` gathers float32 shards as
        bfloat16 and adds gradients in float32."""
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

        mixed = config.precision == "mixed"
        stored = torch.float32 if mixed else COMPUTE[config.precision]
        for parameter in model.parameters():
            if parameter.dtype.is_floating_point:
                parameter.data = parameter.data.to(stored)
        if self.tensor > 1:
            self.plan = plan_of(model)
            self.plan.apply(model, self.mesh["tensor"])
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if mixed else MixedPrecisionPolicy()
        options: dict[str, Any] = {"mesh": self.mesh["data"], "mp_policy": policy}
        for block in layers_of(model):
            fully_shard(block, **options)
        fully_shard(model, **options)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        register_fsdp_forward_method(model, "hidden")

    @torch.no_grad()
    def gather(self, model: Model) -> None:
        """Give the model whole parameters again, to be saved. It is not trained any further. All ranks take part."""
        for module in model.modules():
            for leaf, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, leaf, nn.Parameter(full(parameter), requires_grad=parameter.requires_grad))
        if self.plan is not None:
            self.plan.undo(model)


def full(value: Tensor) -> Tensor:
    """A shard's whole tensor, on every rank."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value.detach()
