"""One side in a process of its own: `python -m benchmarks.rivals.process SIDE MODEL IDS THREADS` prints one JSON line
with its peak memory after a stream that fills a context of 2,048 tokens, and (ours) the seconds from imports to ready.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

CONTEXT, NEW, CHUNK = 2048, 40, 512


def peak() -> float:
    """Most megabytes that this process ever had in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not say how much memory a process had")


def torch_alone() -> dict[str, Any]:
    import torch

    return {"version": torch.__version__}


def ours(ids: list[int], threads: int) -> dict[str, Any]:
    import gguf  # noqa: F401  these three are imported where they are needed, which is no part of getting ready
    import jinja2  # noqa: F401
    import tokenizers  # noqa: F401
    import torch

    from idiolect import models
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    torch.set_num_threads(threads)
    imported = peak()
    begin = time.perf_counter()
    model = models.load(models.EMBEDDED_LM, dtype="stored", progress=False)
    loaded = time.perf_counter()
    engine = Engine(model, EngineConfig(pages=CONTEXT // 16, max_batch=1, context=CONTEXT, threads=threads))
    ready = time.perf_counter()
    (result,) = engine.generate([ids], Sampling(temperature=0, max_tokens=NEW, ignore_eos=True))
    assert result.usage.completion_tokens == NEW
    return {"imported": imported, "ready": ready - begin, "load": loaded - begin, "runner": engine.stats().runner}


def llama(path: str, ids: list[int], threads: int) -> dict[str, Any]:
    from benchmarks.rivals.llama import LlamaCpp

    model = LlamaCpp(Path(path), context=CONTEXT, threads=threads)
    for begin in range(0, len(ids), CHUNK):
        part = ids[begin : begin + CHUNK]
        rows = model.decode([(t, begin + i, 0, begin + i == len(ids) - 1) for i, t in enumerate(part)])
    token = model.best(rows[0])
    for i in range(NEW - 1):
        model.decode([(token, len(ids) + i, 0, True)])
        token = model.best(0)
    return {}


def main() -> None:
    side, path, ids_file, threads = sys.argv[1:]
    ids = json.loads(Path(ids_file).read_text())[: CONTEXT - NEW]
    if side == "torch":
        found = torch_alone()
    elif side == "ours":
        found = ours(ids, int(threads))
    else:
        found = llama(path, ids, int(threads))
    print(json.dumps({**found, "peak": peak()}))


if __name__ == "__main__":
    main()
