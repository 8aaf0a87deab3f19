"""Small preferences in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idiolect.core.rng import Streams
from idiolect.data.assemble import Prepared
from idiolect.data.codec import Row
from idiolect.data.source import Batching, PackedSource
from idiolect.data.tokens import Builder, Tokens
from tests.train.tiny import VOCAB

Ids = list[int]


def preferences(count: int, responses: Sequence[int] = (2,), seed: int = 0) -> Tokens:
    """Prompts with ranked responses of random tokens; `responses` says how many, in turn."""
    draw = Streams(seed).numpy("preferences")
    builder = Builder(None, "preference")
    for index in range(count):
        prompt = draw.integers(0, VOCAB, draw.integers(1, 9))
        segments = []
        for _ in range(responses[index % len(responses)]):
            answer = draw.integers(0, VOCAB, draw.integers(1, 9))
            counted = np.array([0] * len(prompt) + [1] * len(answer), np.uint8)
            segments.append((np.concatenate([prompt, answer]).astype(np.uint32), counted))
        builder.add(Row(segments), index, index)
    return builder.finish()


def prepared(tokens: Tokens, examples: int = 4) -> Prepared:
    source = PackedSource(tokens, batching=Batching(examples=examples))
    return Prepared(source, None, [tokens], (), tokens)
