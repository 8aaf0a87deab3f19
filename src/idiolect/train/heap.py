"""Memory that one step frees is kept for the next one, where the C library can be told so (glibc).

A step frees hundreds of megabytes and asks for as much again. glibc gives large blocks back to the system as they are
freed, and every page that comes back costs a fault: measured on a virtual machine, 6 to 50 thousand faults a step of
SmolLM2-135M, up to 4 % of its processor time in the kernel; some 20 with the limits below. The peak stays what it was.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
LARGEST = 32 << 20  # bytes; the largest block that glibc may take from its heap
GROWN = 2 * LARGEST  # bytes; the same limit as glibc's own largest
EVERYTHING = (1 << 31) - 1  # bytes of free memory at the heap's end that are kept


@contextmanager
def kept() -> Iterator[bool]:
    """Within the block freed memory stays with the process; whether it does. Afterwards it is given back, and the
    limits are the largest that glibc comes to by itself."""
    library = glibc()
    if library is None or not library.mallopt(MMAP, LARGEST) or not library.mallopt(TRIM, EVERYTHING):
        yield False
        return
    try:
        yield True
    finally:
        library.mallopt(TRIM, GROWN)
        library.malloc_trim(0)


def glibc() -> ctypes.CDLL | None:
    """The C library, if it is GNU's."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    known = all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
    return library if known else None
