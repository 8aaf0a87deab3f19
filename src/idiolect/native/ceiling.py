"""What this machine can do at best: bytes read from memory and multiply-adds, per second. MBU and MFU are shares of it.

MBU (model bandwidth utilisation) is the weights and cached keys and values that a step has to read, per second, over
`bandwidth`. MFU (model FLOPs utilisation; Chowdhery et al., "PaLM", 2022, appendix B) is the multiply-adds that a step
has to do, per second, over `arithmetic(...)`. Both ceilings are measured, not taken from a data sheet: the native
kernels' read loop over memory larger than the caches, and chains of products from registers; without a compiler, torch.

Measuring takes about two seconds and is done only when asked for (`idiolect doctor`, `idiolect bench`); the result is
kept in the cache folder, per processor, instruction set and number of threads. `known` only reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from idiolect.core.errors import IdiolectError, Unavailable
from idiolect.core.files import atomic_write, cache_dir
from idiolect.core.progress import progress
from idiolect.native.library import library

MEMORY = 256 << 20  # bytes: several times the shared cache of a small machine
SECONDS = 0.15  # of one measurement
TIMES = 4  # the best of these: a neighbour can only slow us down


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Per second, of `threads` threads together."""

    bandwidth: float  # bytes
    float32: float  # multiply-adds
    int8: float  # multiply-adds of bytes; 0: not measured
    threads: int
    by: str  # who measured: "avx2", "torch"
    cpu: str
    when: float  # seconds since the epoch

    def arithmetic(self, quantised: bool) -> float:
        """The ceiling for products of bytes, or of floats."""
        return self.int8 if quantised and self.int8 else self.float32


def known(threads: int | None = None) -> Ceiling | None:
    """What was measured on this machine before; None when nothing was."""
    try:
        data = json.loads(_path(threads or torch.get_num_threads()).read_text(encoding="utf-8"))
        return Ceiling(**data)
    except (OSError, ValueError, TypeError, IdiolectError):
        return None


def measure(threads: int | None = None) -> Ceiling:
    """Measure now and keep the result."""
    count = threads or torch.get_num_threads()
    with progress("measuring this machine", 3 * TIMES, "runs") as bar:
        try:
            lib = library()
        except Unavailable:
            found = _by_torch(count, bar.advance)
        else:
            memory = np.zeros(MEMORY // 4 + 16, np.float32)
            memory.fill(1.0)  # pages that were never written are one page of zeros
            at = -memory.ctypes.data % 64 // 4
            address, size = memory[at:].ctypes.data, MEMORY
            best = []
            for what in (0, 32, 8):
                rates = []
                for _ in range(TIMES):
                    rates.append(float(lib.idl_measure(what, count, SECONDS, address, size)))
                    bar.advance()
                best.append(max(rates))
            found = Ceiling(best[0], best[1], best[2], count, lib.idl_isa().decode(), processor(), time.time())
    with contextlib.suppress(IdiolectError, OSError):  # a folder that cannot be written: measured again next time
        path = _path(count)
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path, "w") as file:
            json.dump(asdict(found), file)
    return found


def _by_torch(threads: int, advance: object) -> Ceiling:
    memory, a = torch.ones(MEMORY // 4), torch.ones(768, 768)
    read, multiply = [], []
    for _ in range(TIMES):
        begin = time.perf_counter()
        memory.sum()
        read.append(MEMORY / (time.perf_counter() - begin))
        begin = time.perf_counter()
        a @ a
        multiply.append(768**3 / (time.perf_counter() - begin))
        advance()  # type: ignore[operator]
    return Ceiling(max(read), max(multiply), 0.0, threads, "torch", processor(), time.time())


def processor() -> str:
    """The processor's name, as far as the system says it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _path(threads: int) -> Path:
    from idiolect.native.toolchain import variants

    key = repr((processor(), platform.machine(), sorted(variants()), threads))
    return cache_dir() / "machine" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
