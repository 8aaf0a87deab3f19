"""What a run says of itself while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Record:
    """Figures after `step` steps; `kind` is "step" or "validation". Times in seconds, memory in bytes."""

    kind: str
    step: int
    figures: dict[str, float]


Watch = Callable[[Record], None]


def memory(device: torch.device) -> float:
    """Peak bytes so far: of the device where it counts them, else the process's resident memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
