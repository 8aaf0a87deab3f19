"""What is done to a model's layers for the time of a run: recomputation, compilation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from idiolect.core.errors import BadInput
from idiolect.models.base import Model


def layers_of(model: Model) -> list[nn.Module]:
    """The blocks that are stacked."""
    found = getattr(model, "layers", None)
    if not isinstance(found, nn.ModuleList):
        raise BadInput(f"{model.id} has no stack of layers", hint="switch checkpointing, compile and sharding off")
    return list(found)


@contextmanager
def checkpointed(model: Model, on: bool = True) -> Iterator[None]:
    """Within the block a layer keeps its input only and is computed again in the backward pass (Chen et al. 2016,
    arXiv:1604.06174): about a third more compute for a fraction of the activations."""
    blocks: list[Any] = layers_of(model) if on else []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.__dict__["forward"]


def compile_layers(model: Model) -> None:
    """torch.compile each layer in place: pays where batches keep their shape (pretraining in blocks). The layers share
    their code, and each is a specialisation of it, so torch has to keep as many."""
    import torch._dynamo

    blocks = layers_of(model)
    settings: Any = torch._dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, 4 * len(blocks))
    for block in blocks:
        block.compile(dynamic=False)
