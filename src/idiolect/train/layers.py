"""What is done to a model's layers for the time of a run: recomputation, compilation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
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


@contextmanager
def compiled(model: Model, on: bool = True, whole: bool = True) -> Iterator[None]:
    """Within the block the stack of layers goes through torch.compile: pays where batches keep their shape
    (pretraining in blocks). `whole`: as one graph, so that the end of a layer and the beginning of the next are one
    kernel (1 % of a 124M GPT's step on a GPU); else each layer by itself, as sharded ones want it."""
    owner: Any = model
    if on and whole:
        layers_of(model)
        owner.hidden = torch.compile(model.hidden, dynamic=False)
    elif on:
        from torch import _dynamo

        blocks = layers_of(model)  # they share their code, and each is a specialisation of it
        settings: Any = _dynamo.config
        settings.recompile_limit = max(settings.recompile_limit, 4 * len(blocks))
        for block in blocks:
            block.compile(dynamic=False)
    try:
        yield
    finally:
        if on and whole:
            del owner.__dict__["hidden"]
