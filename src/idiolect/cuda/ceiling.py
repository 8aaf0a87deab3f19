"""What this GPU can do at best, measured: bytes a second through its memory, multiply-adds a second in bfloat16."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from idiolect.core.errors import IdiolectError
from idiolect.core.files import atomic_write, cache_dir

BYTES = 1 << 31  # several times any second-level cache
SIDE = 8192  # of the square matrices
TIMES = 10


@dataclass(frozen=True, slots=True)
class Ceiling:
    """`bandwidth`: bytes read and written; `bfloat16`: multiply-adds. Both per second, on random data."""

    bandwidth: float
    bfloat16: float
    card: str

    def arithmetic(self, quantised: bool) -> float:
        """Multiply-adds a second; 8 and 4-bit weights are multiplied in bfloat16 too."""
        return self.bfloat16


def known(device: torch.device | str = "cuda") -> Ceiling | None:
    """What was measured on such a card before; None when nothing was."""
    try:
        return Ceiling(**json.loads(_path(device).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, IdiolectError):
        return None


def measure(device: torch.device | str = "cuda") -> Ceiling:
    """The best of several copies and matrix products, kept for `known`; takes about a second."""
    a = torch.randint(0, 1 << 30, (BYTES // 8,), device=device, dtype=torch.int32)
    b = torch.empty_like(a)
    copy = seconds(lambda: b.copy_(a))
    x, y = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = seconds(lambda: torch.mm(x, y))
    found = Ceiling(2 * a.nbytes / copy, SIDE**3 / product, torch.cuda.get_device_name(device))
    with contextlib.suppress(IdiolectError, OSError):  # a folder that cannot be written: measured again next time
        path = _path(device)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as file:
            json.dump(asdict(found), file)
    return found


def _path(device: torch.device | str) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in torch.cuda.get_device_name(device))
    return cache_dir() / "machine" / f"{name}.json"


def seconds(work: Callable[[], object], times: int = TIMES) -> float:
    """The shortest of some runs on the device, by its own clock."""
    found = []
    for _ in range(times + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1e3)
    return min(found[2:])
