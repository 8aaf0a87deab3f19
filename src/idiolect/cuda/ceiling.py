"""What this GPU can do at best, measured: bytes a second through its memory, multiply-adds a second in bfloat16."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BYTES = 1 << 31  # several times any second-level cache
SIDE = 8192  # of the square matrices
TIMES = 10


@dataclass(frozen=True, slots=True)
class Ceiling:
    """`bandwidth`: bytes read and written; `bfloat16`: multiply-adds. Both per second, on random data."""

    bandwidth: float
    bfloat16: float
    card: str


def measure(device: torch.device | str = "cuda") -> Ceiling:
    """The best of several copies and matrix products; takes about a second."""
    a = torch.randint(0, 1 << 30, (BYTES // 8,), device=device, dtype=torch.int32)
    b = torch.empty_like(a)
    copy = seconds(lambda: b.copy_(a))
    x, y = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = seconds(lambda: torch.mm(x, y))
    return Ceiling(2 * a.nbytes / copy, SIDE**3 / product, torch.cuda.get_device_name(device))


def seconds(work: object, times: int = TIMES) -> float:
    """The shortest of some runs on the device, by its own clock."""
    found = []
    for _ in range(times + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()  # type: ignore[operator]
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1e3)
    return min(found[2:])
