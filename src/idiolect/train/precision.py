"""The trainable parameters as the optimiser sees them, in one of three explicit ways.

- `fp32`, `bf16`: the model's own parameters, cast once; gradients and optimiser states have their dtype.
- `mixed`: the model computes in bfloat16; float32 masters hold the weights, gradients are added up in float32 and the
  update is rounded into the model afterwards (Micikevicius et al. 2017, arXiv:1710.03740). 2 + 4 + 4 bytes a
  parameter, before the optimiser's. bfloat16 has float32's range, so nothing is scaled.

Nothing depends on a global switch such as autocast: what a product is computed in can be read off the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.train.config import Precision

COMPUTE = {"fp32": torch.float32, "bf16": torch.bfloat16, "mixed": torch.bfloat16}


class Weights:
    """Named trainable parameters of some modules, and their masters (themselves unless mixed)."""

    def __init__(self, modules: Mapping[str, nn.Module], precision: Precision, *, sharded: bool = False) -> None:
        """Casts every float parameter of `modules`, frozen ones too. `sharded`: the parameters are float32 shards
        that are cast when they are gathered (FSDP), so they are their own masters."""
        every = {f"{prefix}.{name}": p for prefix, m in modules.items() for name, p in m.named_parameters()}
        self.parameters = {name: p for name, p in every.items() if p.requires_grad}
        if not self.parameters:
            raise BadInput("nothing is trainable", hint="choose a method that trains something")
        mixed = precision == "mixed" and not sharded
        self.masters: dict[str, Tensor] = dict(self.parameters)
        if mixed:
            self.masters = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        if not sharded:
            for p in every.values():
                if p.dtype.is_floating_point:
                    p.data = p.data.to(COMPUTE[precision])
        self._hooks = [
            self.parameters[name].register_post_accumulate_grad_hook(_into(master))
            for name, master in (self.masters.items() if mixed else ())
        ]
        self._mixed = mixed

    def gradients(self) -> list[Tensor]:
        """Those that there are, as they were added up."""
        return [m.grad for m in self.masters.values() if m.grad is not None]

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the model; drop the gradients."""
        for master in self.masters.values():
            master.grad = None
        if self._mixed:
            torch._foreach_copy_([self.parameters[name] for name in self.masters], list(self.masters.values()))

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take over the masters of a checkpoint. `BadInput` when it is of another model or method."""
        if set(values) != set(self.masters):
            odd = sorted(set(values) ^ set(self.masters))[0]
            raise BadInput(
                f"the checkpoint is of another model or method: {odd} is only in one of them",
                hint="resume with the recipe that the run began with, or give another folder",
            )
        for name, master in self.masters.items():
            if values[name].shape != master.shape:
                raise BadInput(
                    f"the checkpoint has {name} of shape {list(values[name].shape)}, the model {list(master.shape)}",
                    hint="resume with the recipe that the run began with, or give another folder",
                )
            master.copy_(values[name])
        self.publish()

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()
        for master in self.masters.values():
            master.grad = None


def _into(master: Tensor):  # type: ignore[no-untyped-def]
    def add(parameter: Tensor) -> None:
        grad, parameter.grad = parameter.grad, None
        if grad is not None:
            master.grad = grad.float() if master.grad is None else master.grad.add_(grad)

    return add
