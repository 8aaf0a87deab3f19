"""Batches for training: a pure function of the items, the seed and the step (satisfies `train.Source`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.data.batch import TrainBatch
from idiolect.data.items import Items
from idiolect.data.order import Order, Sequential
from idiolect.data.packing import best_fit, bucketed, by_examples, by_tokens, steps_by_tokens
from idiolect.nn import Batch


@dataclass(frozen=True, slots=True)
class Batching:
    """How a step is made up. `examples` per step, or about `tokens` per step (0: by examples). A step is computed in
    micro-batches of at most `micro_tokens` tokens. `prompt_weight` is what a token that is not learned counts in the
    loss (prompt-loss weight). `bucket` (steps; 0: off) puts examples of similar lengths into one step."""

    examples: int = 8
    tokens: int = 0
    micro_tokens: int = 4096
    prompt_weight: float = 0.0
    bucket: int = 0

    def __post_init__(self) -> None:
        if self.examples < 1 or self.tokens < 0 or self.micro_tokens < 1 or self.bucket < 0:
            raise BadInput("examples and micro_tokens must be at least 1, tokens and bucket at least 0")
        if self.prompt_weight < 0:
            raise BadInput(f"prompt_weight is {self.prompt_weight}", hint="0 learns answers only, 1 all alike")


class PackedSource:
    """Examples packed into micro-batches. Memory does not grow with the number of steps."""

    def __init__(self, items: Items, order: Order | None = None, batching: Batching | None = None, seed: int = 0):
        """`order` defaults to the items as they stand (validation); for training give `Shuffled(len(items), seed)`."""
        self.items, self.batching = items, batching or Batching()
        self.order = order or Sequential(len(items))
        if not len(self.order):
            raise BadInput("there are no examples to train on", hint="give more data")
        self._streams = Streams(seed, ("data", "bucket"))
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        b = self.batching
        if b.tokens:
            mean = float(items.lengths[self.order.epoch(0)].mean())
            self.steps_per_epoch = steps_by_tokens(round(mean * len(self.order)), len(self.order), b.tokens)
        else:
            self.steps_per_epoch = -(-len(self.order) // b.examples)

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens computed in the first epoch (all epochs are alike unless the order samples)."""
        return int(self.items.lengths[self.order.epoch(0)].sum())

    def step(self, step: int) -> list[TrainBatch]:
        """The micro-batches of optimiser step `step`, counted from 0 across epochs."""
        chosen = self.chosen(step)
        bins = best_fit(self.items.lengths[chosen].tolist(), self.batching.micro_tokens)
        return [collate(self.items, chosen[places], self.batching.prompt_weight) for places in bins]

    def examples(self, step: int) -> list[str]:
        """File and line of the examples of a step, for messages."""
        return [self.items.place(item) for item in self.chosen(step).tolist()]

    def chosen(self, step: int) -> np.ndarray:
        """The numbers of the items of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order, bounds = self._epoch(epoch)
        return order[bounds[within] : bounds[within + 1]]

    def _make_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        b, order = self.batching, self.order.epoch(epoch)
        if b.bucket:
            each = b.examples if not b.tokens else max(1, round(len(order) / self.steps_per_epoch))
            order = bucketed(order, self.items.lengths, b.bucket, each, self._streams.numpy(epoch))
        if b.tokens:
            return order, by_tokens(self.items.lengths[order], self.steps_per_epoch)
        return order, by_examples(len(order), b.examples)


def collate(items: Items, chosen: np.ndarray, prompt_weight: float = 0.0) -> TrainBatch:
    """One packed batch of items. Row n predicts the next token of its own segment; the last row of a segment predicts
    nothing. Labels: the class or value of each segment; for ranked responses their rank, 0 the best."""
    ids, targets, weights, labels, reference = [], [], [], [], []
    for item in chosen.tolist():
        segments = items.segments(item)
        known = items.reference(item)
        asked = prompt_weight if len(segments) == 1 else 0.0  # what is compared are the responses alone
        for rank, (tokens, counted) in enumerate(segments):
            ids.append(torch.from_numpy(tokens.astype(np.int64)))
            targets.append(np.append(tokens[1:], 0).astype(np.int64))
            weights.append(np.append(np.where(counted[1:], 1.0, asked), 0.0).astype(np.float32))
            if items.labels is not None:
                labels.append(items.labels[item])
            elif len(segments) > 1:
                labels.append(rank)
        if known is not None:
            reference += known.tolist()
    kind = torch.float32 if items.labels is not None and not items.classes else torch.int64
    return TrainBatch(
        Batch.pack(ids),
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.concatenate(weights)),
        torch.tensor(labels, dtype=kind) if labels else None,
        torch.tensor(reference, dtype=torch.float32) if reference else None,
    )
