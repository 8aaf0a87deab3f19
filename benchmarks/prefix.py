"""A conversation about a document: how soon the second answer begins.

The first turn puts a document of 1,500 tokens and a question before the model and reads 32 tokens of answer; the second
one asks again. Timed is the first token of the second turn: with prefix caching, without it, and in llama.cpp, whose
own reuse keeps the first turn's cells and computes what is new. The engine's figure includes finding the beginning,
scheduling and sampling.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, interleave, ratios, spread

SUMMARY = "Time to the first token of a conversation's second turn over a long document, beside llama.cpp's own reuse."
CHUNK = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--document", type=int, default=1500, help="tokens of the document (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import torch

    from benchmarks.rivals.llama import LlamaCpp
    from idiolect import models
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    torch.set_num_threads(args.threads)
    model = models.load(models.EMBEDDED_LM, dtype="stored", progress=False)
    encode = model.tokenizer.encode
    words = (Path(__file__).parent / "data" / "offtopic.txt").read_text(encoding="utf-8")
    first = encode(words * 40)[: args.document] + encode("\nWhat is this text about?\n")
    asked = encode("\nAnd what does it say at its end?\n")
    answer = Sampling(temperature=0, max_tokens=32, ignore_eos=True)
    one = Sampling(temperature=0, max_tokens=1, ignore_eos=True)
    engines = {
        on: Engine(model, EngineConfig(memory_bytes=256 << 20, prefix_cache=on, threads=args.threads))
        for on in (True, False)
    }
    llama = LlamaCpp(model.source.path, context=4096, threads=args.threads)
    told: dict[str, Any] = {}

    def ours(on: bool) -> float:
        engine = engines[on]
        engine.forget()
        if on:
            told["answer"] = engine.generate([first], answer)[0].ids
        (result,) = engine.generate([[*first, *told["answer"], *asked]], one)
        told["cached" if on else "uncached"] = result.usage.cached_tokens
        return 1000 * float(result.metrics.ttft or 0.0)

    def theirs() -> float:
        before = [*first, *told["answer"][:-1]]
        new = [told["answer"][-1], *asked]
        llama.clear()
        for begin in range(0, len(before), CHUNK):
            llama.decode([(t, begin + i, 0, False) for i, t in enumerate(before[begin : begin + CHUNK])])
        begin_time = time.perf_counter()
        (row,) = llama.decode([(t, len(before) + i, 0, i == len(new) - 1) for i, t in enumerate(new)])
        llama.best(row)
        return 1000 * (time.perf_counter() - begin_time)

    sides = {"with prefix caching": lambda: ours(True), "without": lambda: ours(False), "llama.cpp reuse": theirs}
    for side in sides.values():
        side()
    found = interleave(sides, args.rounds)
    for name, values in found.items():
        print(f"{name:20} {spread(values)} ms to the first token")
    gain = ratios(found["without"], found["with prefix caching"])
    rival = ratios(found["llama.cpp reuse"], found["with prefix caching"])
    print(
        f"{told['cached']} of {len(first) + 32 + len(asked)} tokens were in memory; without caching {told['uncached']}"
    )
    print(f"without / with {gain}; llama.cpp / ours {rival}")
    return Result(
        "prefix",
        spread(found["with prefix caching"]).median,
        spread(found["llama.cpp reuse"]).median,
        gain.median,
        "ms to the first token of the second turn; ratio: without caching / with",
        args.rounds,
        "ratio >= 15, and below llama.cpp's",
        gain.median >= 15 and rival.median > 1,
        [f"llama.cpp / ours: {rival.median:.2f}x"],
    )
