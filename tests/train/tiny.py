"""Small random models, and sources that live in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from idiolect.core.rng import Streams
from idiolect.data.batch import TrainBatch
from idiolect.models.base import CausalModel
from idiolect.models.families import family_of
from idiolect.nn import Batch

VOCAB = 61
LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
GPT2 = {"model_type": "gpt2", "vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "gpt2": GPT2,
    "untied": {**LLAMA, "tie_word_embeddings": False},
    "dynamic": {**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 64}},
}


def model(name: str = "llama", seed: int = 3, std: float = 0.1) -> CausalModel:
    found = family_of(CONFIGS[name])(CONFIGS[name])
    found.initialise(std, Streams(seed).torch("init"))
    assert isinstance(found, CausalModel)
    return found


def examples(count: int, seed: int = 0, shortest: int = 3, longest: int = 20) -> list[list[int]]:
    """Token lists with something to learn: each is a walk with a stride of its own."""
    draw = Streams(seed).numpy("examples")
    found = []
    for _ in range(count):
        start, stride, length = draw.integers(VOCAB), draw.integers(1, 5), draw.integers(shortest, longest + 1)
        found.append([int((start + stride * i) % VOCAB) for i in range(length)])
    return found


def pack(rows: Sequence[Sequence[int]], masked: int = 1) -> TrainBatch:
    """A micro-batch that predicts each next token; the first `masked - 1` predictions of a row count nothing."""
    targets = torch.cat([torch.tensor([*row[1:], 0]) for row in rows])
    weights = torch.cat([torch.tensor([0.0] * (masked - 1) + [1.0] * (len(row) - masked) + [0.0]) for row in rows])
    return TrainBatch(Batch.pack(rows), targets, weights)


@dataclass
class Memory:
    """Examples in a shuffled order per epoch, `batch` to a step, `micro` to a micro-batch."""

    rows: list[list[int]]
    batch: int = 4
    micro: int = 4
    seed: int = 0
    masked: int = 1
    asked: list[int] = field(default_factory=list)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.rows) // self.batch

    def order(self, step: int) -> list[int]:
        epoch, within = divmod(step, self.steps_per_epoch)
        mixed = Streams(self.seed).numpy("order", epoch).permutation(len(self.rows)).tolist()
        return mixed[within * self.batch : (within + 1) * self.batch]

    def step(self, step: int) -> list[TrainBatch]:
        self.asked.append(step)
        own = [self.rows[i] for i in self.order(step)]
        return [pack(own[i : i + self.micro], self.masked) for i in range(0, len(own), self.micro)]

    def examples(self, step: int) -> list[str]:
        return [f"line {i + 1}" for i in self.order(step)]
