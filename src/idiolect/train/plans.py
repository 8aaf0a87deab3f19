"""Tensor-parallel plans (Shoeybi et al. 2019, arXiv:1909.08053): which matrices are cut how, per family.

A matrix that reads the residual stream is cut by rows of its output (`Columns`), the one that writes back by columns
of its input (`Rows`), so that between them each rank holds some heads, or some hidden channels, and one sum over the
ranks follows. Fused matrices (q, k and v; gate and up) are reordered first, so that a rank's contiguous share has its
part of each; `undo` puts the rows back before saving. The models only see fewer heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DeviceMesh, DTensor, Replicate, Shard, distribute_module, distribute_tensor

from idiolect.core.errors import BadInput
from idiolect.models.base import Model
from idiolect.models.gpt2 import GPT2
from idiolect.models.llama import Llama
from idiolect.nn import Linear
from idiolect.train.layers import layers_of

Parts = Callable[[Any], Sequence[int]]  # a model's configuration -> rows of the parts of a fused matrix


@dataclass(frozen=True, slots=True)
class Columns:
    """Cut by output rows; `parts` are the fused matrices inside."""

    parts: Parts


@dataclass(frozen=True, slots=True)
class Rows:
    """Cut by input columns; the outputs are added up."""


class Plan:
    """A family's plan, bound to one model."""

    def __init__(self, styles: dict[str, Columns | Rows], config: Any) -> None:
        self.styles, self.config = styles, config
        self.ranks = 1

    def apply(self, model: Model, mesh: DeviceMesh) -> None:
        """Cut every layer over `mesh`. `BadInput` when the heads or channels do not divide."""
        self.ranks = ranks = mesh.size()
        if any(getattr(m, "delta", None) is not None for m in model.modules()):
            raise BadInput("tensor parallelism trains whole models only", hint="set train.tensor to 1 for an adapter")
        for name, style in self.styles.items():
            if isinstance(style, Columns) and any(n % ranks for n in style.parts(self.config)):
                raise BadInput(f"{name} of {model.id} does not divide by {ranks}", hint="give a smaller train.tensor")
        for block in layers_of(model):
            attention: Any = block.attention
            attention.heads //= ranks
            if hasattr(attention, "kv_heads"):
                attention.kv_heads //= ranks
            for name, style in self.styles.items():
                layer = block.get_submodule(name)
                assert isinstance(layer, Linear)
                if isinstance(style, Columns):
                    _columns(layer, mesh, order(style.parts(self.config), ranks))
                else:
                    _rows(layer, mesh)

    @torch.no_grad()
    def undo(self, model: Model) -> None:
        """Put the rows of fused matrices, and the numbers of heads, back (parameters are whole again)."""
        for block in layers_of(model):
            attention: Any = block.attention
            attention.heads *= self.ranks
            if hasattr(attention, "kv_heads"):
                attention.kv_heads *= self.ranks
            for name, style in self.styles.items():
                if isinstance(style, Columns):
                    back = order(style.parts(self.config), self.ranks).argsort()
                    for parameter in block.get_submodule(name).parameters():
                        parameter.copy_(parameter[back.to(parameter.device)])


def order(parts: Sequence[int], ranks: int) -> Tensor:
    """Rows of a fused matrix such that share r of `ranks` has the r-th share of each part."""
    begin, pieces = 0, []
    for rows in parts:
        pieces.append(torch.arange(begin, begin + rows).chunk(ranks))
        begin += rows
    return torch.cat([piece[r] for r in range(ranks) for piece in pieces])


def _columns(layer: Linear, mesh: DeviceMesh, index: Tensor) -> None:
    def cut(name: str, module: nn.Module, mesh: DeviceMesh) -> None:
        for leaf, p in list(module.named_parameters(recurse=False)):
            value = distribute_tensor(p.detach()[index.to(p.device)], mesh, [Shard(0)])
            module.register_parameter(leaf, nn.Parameter(value, requires_grad=p.requires_grad))

    def enter(module: nn.Module, inputs: Any, mesh: DeviceMesh) -> Any:
        return (DTensor.from_local(inputs[0], mesh, [Replicate()], run_check=False),)

    def leave(module: nn.Module, output: Any, mesh: DeviceMesh) -> Any:
        return output.redistribute(placements=[Shard(-1)]).to_local()

    distribute_module(layer, mesh, cut, enter, leave)


def _rows(layer: Linear, mesh: DeviceMesh) -> None:
    def cut(name: str, module: nn.Module, mesh: DeviceMesh) -> None:
        for leaf, p in list(module.named_parameters(recurse=False)):
            where = Shard(1) if p.ndim == 2 else Replicate()
            value = distribute_tensor(p.detach(), mesh, [where])
            module.register_parameter(leaf, nn.Parameter(value, requires_grad=p.requires_grad))

    def enter(module: nn.Module, inputs: Any, mesh: DeviceMesh) -> Any:
        return (DTensor.from_local(inputs[0], mesh, [Shard(-1)], run_check=False),)

    def leave(module: nn.Module, output: Any, mesh: DeviceMesh) -> Any:
        return output.redistribute(placements=[Replicate()]).to_local()

    distribute_module(layer, mesh, cut, enter, leave)


def plan_of(model: Model) -> Plan:
    """The plan of a model's family. `BadInput` when there is none."""
    if isinstance(model, Llama) and not model.config.qk_norm:
        return Plan(
            {
                "attention.qkv": Columns(lambda c: [n * c.head_dim for n in (c.heads, c.kv_heads, c.kv_heads)]),
                "attention.out": Rows(),
                "mlp.gate_up": Columns(lambda c: [c.hidden, c.hidden]),
                "mlp.down": Rows(),
            },
            model.config,
        )
    if isinstance(model, GPT2):
        return Plan(
            {
                "attention.qkv": Columns(lambda c: [c.dim] * 3),
                "attention.out": Rows(),
                "mlp.up": Columns(lambda c: [c.hidden]),
                "mlp.down": Rows(),
            },
            model.config,
        )
    raise BadInput(f"there is no tensor-parallel plan for {model.id}", hint="set train.tensor to 1")
