"""Sixteen requests of mixed lengths that arrive over ten seconds: ours, transformers one by one, transformers in a
padded static batch.

The figure is aggregate speed: all requested output tokens / seconds from the first arrival to the last completion. The
schedule (arrivals, prompt and output lengths) is the same seeded one for all three, and every request runs to its
full output length. Arrivals alone take ten seconds, which bounds what anybody can reach, so the load is heavy enough
that a rival needs far longer.

- ours: the engine's thread, requests submitted at their real times.
- one by one: transformers `generate`, first come, first served; service times are measured, waiting is arithmetic.
- static batch: transformers `generate` on all sixteen at once, left-padded, started when the last one has arrived, and
  run to the longest output.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.harness import Result, spread

SUMMARY = "Aggregate tokens/s of 16 mixed requests over 10 s beside transformers one by one and in a static batch."


@dataclass(frozen=True, slots=True)
class Request:
    at: float  # seconds after the first arrival
    prompt: list[int]
    output: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--longest", type=int, default=448, help="longest output (default %(default)s tokens)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runner", choices=["native", "torch"], default="native", help="who computes our steps")


def run(args: argparse.Namespace) -> Result:
    import torch

    from benchmarks.rivals import transformers_model
    from idiolect import models

    torch.set_num_threads(args.threads)
    full = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    rival = transformers_model(full, args.dtype)
    model = (
        full
        if args.dtype == "float32"
        else models.load(models.EMBEDDED_LM, dtype=args.dtype, packed=False, progress=False)
    )
    load = schedule(model, args)
    total = sum(r.output for r in load)
    print(
        f"{len(load)} requests, prompts {min(len(r.prompt) for r in load)}-{max(len(r.prompt) for r in load)} tokens "
        f"({sum(len(r.prompt) for r in load)} in all), outputs {min(r.output for r in load)}-"
        f"{max(r.output for r in load)} ({total} in all), last arrival at {load[-1].at:.1f} s, {args.dtype}"
    )
    sides = {"ours": partial(ours, runner=args.runner), "one by one": one_by_one, "static batch": static_batch}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, side in sides.items():
            seconds[name].append(side(model if name == "ours" else rival, load))
            print(f"{name:12} {seconds[name][-1]:7.1f} s  {total / seconds[name][-1]:7.1f} tokens/s", flush=True)
    speed = {name: spread([total / s for s in values]) for name, values in seconds.items()}
    single = spread([b / a for a, b in zip(seconds["ours"], seconds["one by one"], strict=True)])
    static = spread([b / a for a, b in zip(seconds["ours"], seconds["static batch"], strict=True)])
    print(f"ratio to one by one {single}, to the static batch {static}")
    return Result(
        "serve",
        speed["ours"].median,
        speed["one by one"].median,
        single.median,
        f"tokens/s first arrival to last completion, {args.dtype}",
        args.rounds,
        "ratio >= 5 to one by one, >= 1.5 to the padded static batch",
        single.median >= 5 and static.median >= 1.5,
        [f"static batch {speed['static batch'].median:.1f} tokens/s, ratio {static.median:.2f}"],
    )


def schedule(model: Any, args: argparse.Namespace) -> list[Request]:
    from benchmarks.prefill import text_ids

    rng = random.Random(args.seed)
    arrivals = sorted([0.0, 10.0, *(rng.uniform(0, 10) for _ in range(args.requests - 2))])
    ids = text_ids(model, 4096)
    load = []
    for at in arrivals:
        begin, length = rng.randrange(3000), rng.randint(24, 320)
        load.append(Request(at, ids[begin : begin + length], rng.randint(args.longest // 7, args.longest)))
    return load


def ours(model: Any, load: list[Request], runner: Any) -> float:
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig, Output

    done = threading.Semaphore(0)

    def sink(output: Output) -> None:
        if output.last:
            assert output.finish == "length", output
            done.release()

    with Engine(model, EngineConfig(memory_bytes=1 << 30, runner=runner)) as engine:
        print(f"runner: {engine.stats().runner}")
        engine.generate([load[0].prompt[:16]], Sampling(temperature=0, max_tokens=2))  # warm
        engine.forget()
        begin = time.perf_counter()
        for request in load:
            time.sleep(max(0.0, begin + request.at - time.perf_counter()))
            how = Sampling(temperature=0, max_tokens=request.output, ignore_eos=True)
            engine.submit(request.prompt, how, sink=sink)
        for _ in load:
            done.acquire()
        seconds = time.perf_counter() - begin
        stats = engine.stats()
        assert stats.tokens_generated == sum(r.output for r in load) + 2
    return seconds


def generate(rival: Any, prompts: list[list[int]], tokens: int) -> float:
    """Seconds of one padded `generate` of exactly `tokens` new tokens each."""
    import torch

    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    begin = time.perf_counter()
    with torch.inference_mode():
        out = rival.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
    assert out.shape[1] == longest + tokens
    return time.perf_counter() - begin


def one_by_one(rival: Any, load: list[Request]) -> float:
    now = 0.0
    for request in load:
        now = max(now, request.at) + generate(rival, [request.prompt], request.output)
    return now


def static_batch(rival: Any, load: list[Request]) -> float:
    return load[-1].at + generate(rival, [r.prompt for r in load], max(r.output for r in load))
