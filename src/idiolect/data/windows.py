"""Windows of running text: `block` tokens and their successors, wherever documents begin and end.

Random windows are what nanoGPT trains on; windows one after another read the text once, and `lanes` of them side by
side continue from step to step (the segments of truncated backpropagation through time, Williams and Peng 1990).
The last row of a window predicts the token after it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.rng import Streams
from idiolect.data.batch import TrainBatch
from idiolect.nn import Batch

Reading = Literal["random", "sequential", "lanes"]


class WindowSource:
    """`windows` windows of `block` tokens a step (satisfies `train.Source`).

    `random`: uniform starts, a pure function of (seed, step); an epoch is as many windows as cover the text.
    `sequential`: the text from its beginning, each window once an epoch. `lanes`: window j of step t follows window j
    of step t - 1.
    """

    def __init__(
        self,
        ids: np.ndarray,
        *,
        block: int,
        windows: int = 12,
        reading: Reading = "random",
        micro_tokens: int = 0,
        seed: int = 0,
    ) -> None:
        """`ids` [T] (may be memory-mapped). `micro_tokens` 0 computes a step at once."""
        if reading not in get_args(Reading):
            raise BadInput(f"reading is {reading!r}", hint=did_you_mean(reading, get_args(Reading)))
        if block < 1 or windows < 1:
            raise BadInput("block and windows must be at least 1")
        if len(ids) < block + 1:
            raise BadInput(f"the text has {len(ids)} tokens", hint=f"a block of {block} needs {block + 1}")
        self.ids, self.block, self.windows, self.reading = ids, block, windows, reading
        self._streams = Streams(seed, ("data", "windows"))
        self._each = max(1, micro_tokens // block) if micro_tokens else windows
        self._whole = (len(ids) - 1) // block  # windows that do not overlap
        if reading == "lanes":
            self.windows = min(windows, self._whole)
            self.steps_per_epoch = self._whole // self.windows
        else:
            self.steps_per_epoch = -(-self._whole // windows)

    @property
    def tokens_per_epoch(self) -> int:
        if self.reading == "sequential":
            return self._whole * self.block
        return self.steps_per_epoch * self.windows * self.block

    def starts(self, step: int) -> np.ndarray:
        """Where the windows of a step begin."""
        within = step % self.steps_per_epoch
        if self.reading == "random":
            return self._streams.numpy(step).integers(0, len(self.ids) - self.block, self.windows)
        if self.reading == "lanes":
            return (np.arange(self.windows) * self.steps_per_epoch + within) * self.block
        return np.arange(within * self.windows, min((within + 1) * self.windows, self._whole)) * self.block

    def step(self, step: int) -> list[TrainBatch]:
        starts = self.starts(step)
        return [self._batch(starts[i : i + self._each]) for i in range(0, len(starts), self._each)]

    def _batch(self, starts: np.ndarray) -> TrainBatch:
        cut = np.stack([self.ids[s : s + self.block + 1] for s in starts]).astype(np.int64)
        return TrainBatch(
            Batch.pack(list(torch.from_numpy(np.ascontiguousarray(cut[:, :-1])))),
            torch.from_numpy(cut[:, 1:].reshape(-1)),
            torch.ones(len(starts) * self.block),
        )
