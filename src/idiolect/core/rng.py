"""Random streams that are named, not shared: what one part draws cannot move what another part draws.

Each stream's seed is a hash of the run's seed and the stream's name, so it does not depend on the order of calls, on
the process, or on the Python version. Asking twice for one name gives two generators that start at the same point.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

Name = str | int


class Streams:
    """Generators for one seed. `Streams(7).torch("sampler", 3)` is the same stream on every machine."""

    __slots__ = ("prefix", "seed")

    def __init__(self, seed: int, prefix: tuple[Name, ...] = ()) -> None:
        self.seed = int(seed)
        self.prefix = prefix

    def child(self, *names: Name) -> Streams:
        """The streams below a name: `s.child("a").integer("b") == s.integer("a", "b")`."""
        return Streams(self.seed, (*self.prefix, *names))

    def integer(self, *names: Name) -> int:
        """A seed in [0, 2**63) for whoever wants only a number."""
        return int.from_bytes(self._digest(names)[:8], "big") >> 1

    def torch(self, *names: Name, device: str = "cpu") -> torch.Generator:
        import torch

        return torch.Generator(device=device).manual_seed(self.integer(*names))

    def numpy(self, *names: Name) -> np.random.Generator:
        import numpy as np

        return np.random.Generator(np.random.PCG64(int.from_bytes(self._digest(names)[:16], "big")))

    def _digest(self, names: tuple[Name, ...]) -> bytes:
        # Type tags and lengths keep 1 apart from "1", and ("a", "bc") apart from ("ab", "c").
        hasher = hashlib.sha256(str(self.seed).encode())
        for name in (*self.prefix, *names):
            body = str(name).encode("utf-8", "surrogatepass")
            hasher.update(f"|{type(name).__name__}:{len(body)}:".encode())
            hasher.update(body)
        return hasher.digest()
