"""Which parameter gets which optimiser and weight decay.

Matrices decay; norms, biases and embeddings do not (Loshchilov and Hutter 2017, arXiv:1711.05101, decouple the decay;
leaving out what has no direction to shrink is GPT-2's practice). A parameter can say `no_decay = True` of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.nn import Embedding
from idiolect.train.config import OptimiserConfig
from idiolect.train.optim.muon import Muon


class Optimisers:
    """Several optimisers that step together over named parameters."""

    def __init__(self, parts: list[torch.optim.Optimizer], names: Mapping[Tensor, str]) -> None:
        self.parts, self._names = parts, dict(names)
        for part in parts:
            for group in part.param_groups:
                group["peak"] = group["lr"]

    def step(self, factor: float) -> None:
        """One step at `factor` times the peak learning rates."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["peak"] * factor
            part.step()

    def lr(self) -> float:
        """The rate of the last step (of the first group)."""
        return float(self.parts[0].param_groups[0]["lr"])

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the optimisers' state, by parameter and name."""
        found = {}
        for part in self.parts:
            for parameter, values in part.state.items():
                for key, value in values.items():
                    if isinstance(value, Tensor):
                        found[f"{self._names[parameter]}/{key}"] = value
        return found

    def prepare(self) -> None:
        """Make every state there is, so that a checkpoint can be read into it: a step of rate 0 on no gradient."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = 0.0
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            part.step()
            part.zero_grad()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave, bit for bit."""
        for part in self.parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    start = f"{self._names[parameter]}/"
                    own = {k[len(start) :]: v for k, v in state.items() if k.startswith(start)}
                    if own:
                        fused = bool(group.get("fused"))
                        part.state[parameter] = {k: beside(v, k, parameter, fused) for k, v in own.items()}


def beside(value: Tensor, key: str, parameter: Tensor, fused: bool) -> Tensor:
    """A copy of a state on its parameter's device. The count of steps stays on the host unless one kernel does all."""
    if type(value) is not Tensor or (key == "step" and not fused):
        return value.clone()
    return value.to(parameter.device, copy=True)


def build(
    named: Mapping[str, Tensor], config: OptimiserConfig, decayed: Iterable[str], hidden: Iterable[str]
) -> Optimisers:
    """Optimisers over `named`; the names in `decayed` get weight decay, those in `hidden` may take Muon."""
    decays, matrices = set(decayed), set(hidden) if config.name == "muon" else set()

    def groups(names: list[str]) -> list[dict[str, Any]]:
        split = [(config.decay, [n for n in names if n in decays]), (0.0, [n for n in names if n not in decays])]
        return [{"params": [named[n] for n in part], "weight_decay": decay} for decay, part in split if part]

    parts: list[torch.optim.Optimizer] = []
    if first := [n for n in named if n in matrices]:
        parts.append(Muon(groups(first), config.muon_lr, config.muon_momentum))
    if rest := [n for n in named if n not in matrices]:
        if config.name == "sgd":
            parts.append(torch.optim.SGD(groups(rest), config.lr, config.momentum))
        else:
            plain = all(type(named[n].data) is Tensor for n in rest)  # not sharded: one kernel for all
            parts.append(torch.optim.AdamW(groups(rest), config.lr, config.betas, config.eps, fused=plain))
    return Optimisers(parts, {p: name for name, p in named.items()})


def rules(modules: Mapping[str, nn.Module]) -> tuple[list[str], list[str]]:
    """(names that decay, names of hidden matrices): by what a parameter is, not by how it is called."""
    decays, hidden = [], []
    for prefix, root in modules.items():
        head = getattr(root, "head", None)
        for path, module in root.named_modules():
            for leaf, parameter in module.named_parameters(recurse=False):
                if parameter.ndim < 2 or isinstance(module, Embedding | nn.Embedding):
                    continue
                name = ".".join(filter(None, (prefix, path, leaf)))
                if not getattr(parameter, "no_decay", False):
                    decays.append(name)
                if parameter.ndim == 2 and module is not head:
                    hidden.append(name)
    return decays, hidden
