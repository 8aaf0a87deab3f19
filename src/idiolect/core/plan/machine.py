"""What a machine can do, and how long work takes on it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from idiolect.core.plan.lines import Line
from idiolect.core.plan.shape import Shape


@dataclass(frozen=True, slots=True)
class Machine:
    """`flops` a second of dense products and `bandwidth` bytes a second of memory, both at their peak; `mfu` and `mbu`
    are the shares of them that are reached."""

    name: str
    flops: float
    bandwidth: float
    mfu: float = 0.4
    mbu: float = 0.6

    @property
    def ops_byte(self) -> float:
        """FLOPs that can be done while a byte is read: below this arithmetic intensity, memory is what one waits
        for."""
        return self.flops / self.bandwidth


MACHINES = {  # bfloat16 without sparsity, from the makers' data sheets
    "a100-40": Machine("NVIDIA A100 40 GB", 312e12, 1.55e12),
    "a100-80": Machine("NVIDIA A100 80 GB", 312e12, 2.04e12),
    "h100": Machine("NVIDIA H100 SXM", 989e12, 3.35e12),
    "h200": Machine("NVIDIA H200", 989e12, 4.8e12),
    "rtx-4090": Machine("NVIDIA RTX 4090", 165e12, 1.01e12),
}


def here(seconds: float = 0.3) -> Machine:
    """This machine's CPU, measured with numpy in float32: the best of several products and copies. What is measured
    is reached by definition, so `mfu` is 1 and `mbu` too."""
    import numpy as np

    a, b = np.ones((768, 768), np.float32), np.ones((768, 768), np.float32)
    source = np.ones(1 << 24, np.uint8)
    target = np.empty_like(source)

    def best(work: object, amount: float) -> float:
        fastest, end = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            work()  # type: ignore[operator]
            fastest = max(fastest, amount / (time.perf_counter() - begin))
        return fastest

    flops = best(lambda: a @ b, 2.0 * 768**3)
    return Machine(
        "this machine (measured, float32)", flops, best(lambda: np.copyto(target, source), 2.0 * len(source)), 1, 1
    )


def mfu(flops: float, seconds: float, peak: float) -> float:
    """Model FLOPs utilisation: the work that was needed over the work that could have been done."""
    return flops / seconds / peak


def bytes_used(parameters: float, width: float, tokens_per_second: float) -> float:
    """Bytes a second that decoding one sequence reads: every weight for every token."""
    return parameters * width * tokens_per_second


def mbu(parameters: float, width: float, tokens_per_second: float, peak: float) -> float:
    """Memory bandwidth utilisation of decoding."""
    return bytes_used(parameters, width, tokens_per_second) / peak


def compute_over_memory(machine: Machine, batch: int, width: float = 2) -> float:
    """How much longer a linear layer computes than it reads its weights: 2 B N / flops over width N / bandwidth."""
    return (2 * batch / machine.flops) / (width / machine.bandwidth)


def intensity(flops: float, moved: float) -> float:
    """Arithmetic intensity: FLOPs a byte moved."""
    return flops / moved


def latency(first: float, per_token: float, tokens: int) -> float:
    """TTFT + TPOT x n, all in seconds (TPOT is seconds per token)."""
    return first + per_token * tokens


def decode(s: Shape, machine: Machine, weights: float, cache: float, batch: int) -> Line:
    """Seconds of one step that gives each of `batch` sequences a token: the weights and their caches are read once
    (or the products take longer)."""
    from idiolect.core.plan.flops import multiplied

    reading = (weights + cache) / (machine.bandwidth * machine.mbu)
    computing = 2 * multiplied(s) * batch / (machine.flops * machine.mfu)
    how = f"({weights:.4g} + {cache:.4g} bytes) / ({machine.bandwidth:.3g} B/s x {machine.mbu:g})"
    if computing > reading:
        how = f"2 x {multiplied(s)} x {batch} / ({machine.flops:.3g} FLOP/s x {machine.mfu:g})"
    return Line("TPOT, seconds per token", how, max(reading, computing), "s")
