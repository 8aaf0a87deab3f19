"""An embedder that remembers: sentences of the same documents come up with every question."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idiolect.retrieval.types import Embedder


class Remembering:
    """Wraps an embedder (and is one). The `most` texts used last are kept: 16,384 of 384 numbers are 25 MB."""

    def __init__(self, embedder: Embedder, most: int = 16384) -> None:
        self.embedder, self.most = embedder, most
        self.dim, self.fingerprint = embedder.dim, embedder.fingerprint
        self._kept: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str], kind: Literal["query", "doc"] = "doc") -> NDArray[np.float32]:
        """[len(texts), dim] float32, L2-normalised; only what is not remembered is computed, in one call."""
        found: dict[str, NDArray[np.float32]] = {}
        with self._lock:
            for text in dict.fromkeys(texts):
                vector = self._kept.get((kind, text))
                if vector is not None:
                    self._kept.move_to_end((kind, text))
                    found[text] = vector
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            made = self.embedder(new, kind)
            with self._lock:
                for text, vector in zip(new, made, strict=True):
                    found[text] = self._kept[kind, text] = vector.copy()
                while len(self._kept) > self.most:
                    self._kept.popitem(last=False)
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return np.stack([found[text] for text in texts])
