"""The kernels under the address and undefined-behaviour sanitizers: no read or write outside a buffer, in any shape."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from idiolect.native import toolchain

FLAGS = ["-std=c++20", "-O1", "-g", "-fPIC", "-ffp-contract=off", "-fsanitize=address,undefined"]
RUN = """
import sys
from pathlib import Path
import pytest
from idiolect.native import library
built = Path(sys.argv[1])
library.build = lambda every=False: built
names = "not portable and not avx2 and not compiler and not where_nothing"
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", names, *sys.argv[2:]]))
"""


def runtime(name: str) -> str | None:
    """The sanitizer's library, which must be loaded before Python's own."""
    try:
        found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() if Path(found.stdout.strip()).is_absolute() else None


@pytest.mark.slow
@pytest.mark.skipif(runtime("libasan.so") is None, reason="no g++ with sanitizers here")
def test_no_kernel_leaves_its_buffers(tmp_path: Path) -> None:
    objects = []
    jobs = [("kernels", extra) for extra in toolchain.variants().values()]
    jobs += [(name, tuple(f"-DIDL_HAVE_{f.upper()}" for f in toolchain.variants())) for name in toolchain.UNITS]
    for name, extra in jobs:
        objects.append(str(tmp_path / f"{name}.o"))
        command = ["g++", *FLAGS, "-fno-sanitize-recover=undefined", *extra, "-c", f"{toolchain.SOURCES / name}.cpp"]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    library = tmp_path / "library.so"
    subprocess.run(["g++", "-shared", *FLAGS, "-o", str(library), *objects, "-lpthread"], check=True)
    preload = [runtime(name) or "" for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(preload),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    here = Path(__file__).parent
    tests = [str(here / f"test_{name}.py") for name in ("matmul", "tiles", "record", "choose")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(library), *tests],
        capture_output=True,
        text=True,
        env=environment,
        cwd=here.parent.parent,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
