"""What a reference model makes of the responses: computed once, before training, and kept on disk.

The reference is the model as training begins, without its adapter; so it need not stay in memory, and a run that
compares learning rates computes it once for all. The file's name is a hash of the weights and of the tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idiolect.align.logprobs import logprobs
from idiolect.core.canonical import digest
from idiolect.core.files import atomic_write, cache_dir, lock
from idiolect.core.progress import Sink, progress
from idiolect.data.items import Items, Joined, Subset
from idiolect.data.packing import best_fit
from idiolect.data.source import collate
from idiolect.data.tokens import Tokens
from idiolect.models.base import CausalModel

TOGETHER = 256  # items that are packed at once


def remember(
    model: CausalModel, items: Items, *, room: int = 4096, cache: Path | bool = True, sink: Sink | None = None
) -> None:
    """Give every token file below `items` its `references` [S], from the cache where they are known.

    `room` is how many tokens go through the model at once. `cache` is a folder (True: the user's; False: none).
    """
    weights = ""
    for tokens in files_of(items):
        if tokens.references is not None:
            continue
        if cache is False:
            tokens.references = compute(model, tokens, room, sink)
            continue
        root = cache_dir() / "reference" if cache is True else cache
        root.mkdir(parents=True, exist_ok=True)
        weights = weights or weights_hash(model)
        path = root / f"{digest('reference 1', weights, tokens_hash(tokens))[:32]}.npy"
        with lock(path.with_suffix(".lock")):  # the other ranks of a run wait, and read
            tokens.references = _read(path, len(tokens.bounds) - 1)
            if tokens.references is None:
                tokens.references = compute(model, tokens, room, sink)
                with atomic_write(path) as out:
                    np.save(out, tokens.references)


@torch.no_grad()
def compute(model: CausalModel, tokens: Tokens, room: int = 4096, sink: Sink | None = None) -> np.ndarray:
    """[S] float32 log-probabilities of all segments, under the model without its adapter."""
    found = np.zeros(len(tokens.bounds) - 1, np.float32)
    training = model.training
    model.eval()
    with bare(model), progress("reference", total=len(tokens), unit="examples", sink=sink) as bar:
        for begin in range(0, len(tokens), TOGETHER):
            chosen = np.arange(begin, min(begin + TOGETHER, len(tokens)))
            for places in best_fit(tokens.lengths[chosen].tolist(), room):
                part = chosen[places]
                values = logprobs(model, collate(tokens, part).to(model.device)).cpu().numpy()
                where = np.concatenate([np.arange(tokens.items[i], tokens.items[i + 1]) for i in part])
                found[where] = values
                bar.advance(len(part))
    model.train(training)
    return found


@contextmanager
def bare(model: CausalModel) -> Iterator[None]:
    """Within the block the model computes without the adapter that is mounted on it."""
    front, model.front = model.front, None
    held: list[tuple[Any, Any]] = [(m, m.delta) for m in model.modules() if getattr(m, "delta", None) is not None]
    for module, _ in held:
        module.delta = None
    try:
        yield
    finally:
        model.front = front
        for module, delta in held:
            module.delta = delta


def files_of(items: Items | None) -> list[Tokens]:
    """The token files that items are drawn from, each once."""
    match items:
        case Tokens():
            return [items]
        case Subset():
            return files_of(items.items)
        case Joined():
            return [t for part in items.parts for t in files_of(part)]
    return []


def weights_hash(model: CausalModel) -> str:
    """A hash of every weight as it is computed with, adapters aside."""
    hasher = hashlib.sha256(str(model.dtype).encode())
    for rule in sorted(model.rules(), key=lambda r: r.name):
        path, _, leaf = rule.name.rpartition(".")
        module: Any = model.get_submodule(path)
        value = module.dense() if leaf == "weight" and hasattr(module, "dense") else getattr(module, leaf)
        hasher.update(rule.name.encode())
        hasher.update(memoryview(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return hasher.hexdigest()


def tokens_hash(tokens: Tokens) -> str:
    hasher = hashlib.sha256()
    for values in (tokens.ids, tokens.counted, tokens.bounds, tokens.items):
        hasher.update(np.ascontiguousarray(values).tobytes())
    return hasher.hexdigest()


def _read(path: Path, segments: int) -> np.ndarray | None:
    """What was kept; None when there is nothing, or it is damaged."""
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (segments,) and found.dtype == np.float32 else None
