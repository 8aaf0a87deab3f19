"""How the rows of a native step are chosen, as arrays that its kernels read and write (csrc/choose.inl)."""

from __future__ import annotations

import numpy as np

from idiolect.engine.sampling import COLD, penalised
from idiolect.engine.sequence import Sequence
from idiolect.native.library import CHOICE, Step


class Desk:
    """Room for `rows` choices. `special` rows have penalties or biases, which the kernels do not know: they are chosen
    from their logits afterwards. `wanting` rows ask for log-probabilities."""

    def __init__(self, rows: int) -> None:
        self._choices = np.zeros(rows, CHOICE)
        self._index = self._choices["index"]
        self._address = self._choices.ctypes.data
        self._drawn = False  # somebody's choice depends on its index
        self.chosen = np.zeros(rows, np.int32)
        self.norms = np.zeros(rows, np.float32)
        self.top_ids = np.zeros((rows, 0), np.int32)
        self.top_logprobs = np.zeros((rows, 0), np.float32)
        self.special: list[int] = []
        self.wanting: list[int] = []

    def lay(self, choosing: list[Sequence], step: Step) -> None:
        """The choices of a step whose sequences are not those of the last one."""
        asked = [seq.sampling for seq in choosing]
        self.special = [i for i, s in enumerate(asked) if s.logit_bias or penalised(s)]
        self.wanting = [i for i, s in enumerate(asked) if s.logprobs is not None]
        most = max((asked[i].logprobs or 0 for i in self.wanting), default=0)
        if most > self.top_ids.shape[1]:
            rows = len(self.chosen)
            self.top_ids, self.top_logprobs = np.zeros((rows, most), np.int32), np.zeros((rows, most), np.float32)
        special = set(self.special)
        warm = [0.0 if i in special or s.temperature <= COLD else s.temperature for i, s in enumerate(asked)]
        self._drawn = any(warm)
        self._choices[: len(asked)] = [
            (
                *(seq.seed & 0xFFFFFFFFFFFFFFFF, seq.n_index, seq.generated, temperature),
                *(min(s.top_k, 0x7FFFFFFF), s.top_p, s.min_p, 0 if s.logprobs is None else 1 + s.logprobs, 0),
            )
            for seq, s, temperature in zip(choosing, asked, warm, strict=True)
        ]
        step.choices = self._address if asked else None
        step.chosen, step.norms = self.chosen.ctypes.data, self.norms.ctypes.data
        step.top_ids, step.top_logprobs = self.top_ids.ctypes.data, self.top_logprobs.ctypes.data
        step.top_stride = self.top_ids.shape[1]

    def next(self, rows: int) -> None:
        """The same sequences, each one token further."""
        if self._drawn:
            self._index[:rows] += 1
