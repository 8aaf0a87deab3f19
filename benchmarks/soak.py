"""Many clients for minutes over HTTP, with cancels and stop strings: no page leaks, no token is wrong.

The whole gateway around the engine on the embedded model, in this process, and clients
over real sockets. Every client asks again and again, greedily, one of a set of prompts; some hang up in the middle,
some stop at a string. Before, each prompt was run alone; every answer must be that text exactly (up to its stop string,
or the beginning of it where the client hung up). After, every page is free and nothing runs or waits. The inter-token
latency is what the clients saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result
from benchmarks.rivals import questions

SUMMARY = "64 clients for 5 minutes with cancels and stop strings: pages, tokens and inter-token latency."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--tokens", type=int, default=48, help="longest answer (default %(default)s)")
    parser.add_argument("--model", default=None, help="a source (default: the embedded model)")
    parser.add_argument("--seed", type=int, default=0)


@dataclass(slots=True)
class Seen:
    """What the clients saw."""

    whole: int = 0
    stopped: int = 0
    hung_up: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def run(args: argparse.Namespace) -> Result:
    seen, leak, alone = soak(args.model, args.clients, args.seconds, args.tokens, args.seed)
    answers = seen.whole + seen.stopped + seen.hung_up
    p50, p99 = (1e3 * float(np.percentile(seen.gaps, q)) for q in (50, 99))
    print(f"{args.clients} clients, {args.seconds:.0f} s: {seen.whole} whole answers, {seen.stopped} ended by a stop")
    print(f"string, {seen.hung_up} hung up in the middle, {seen.refused} refused; {alone} prompts run alone before")
    print(f"inter-token latency p50 {p50:.1f} ms, p99 {p99:.1f} ms, n={len(seen.gaps)}")
    print(f"wrong answers: {len(seen.wrong)}; pages lost: {leak}")
    for text in seen.wrong[:3]:
        print(f"  {text}")
    return Result(
        "soak",
        round(p99, 1),
        None,
        None,
        "ms inter-token latency, p99",
        answers,
        "no leaked page, no wrong token",
        not seen.wrong and leak == 0 and answers > 0,
        [f"p50 {p50:.1f} ms", f"{len(seen.wrong)} wrong", f"{leak} pages lost"],
    )


def soak(source: str | None, clients: int, seconds: float, tokens: int, seed: int) -> tuple[Seen, int, int]:
    """(what was seen, pages lost, prompts)."""
    from idiolect import models
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig
    from idiolect.gateway.app import App, Served
    from idiolect.gateway.config import AppConfig, HttpConfig
    from idiolect.gateway.layers import LimitsConfig
    from idiolect.gateway.local import LocalModel
    from idiolect.gateway.server.run import bind, server

    model: Any = models.load(source or models.EMBEDDED_LM, dtype="stored", progress=False)
    prompts = questions()
    with Engine(model, EngineConfig(memory_bytes=96 << 20, prefix_cache=False)) as engine:
        how = Sampling(temperature=0, max_tokens=tokens)
        ids = [model.tokenizer.encode(p, bos=True) for p in prompts]
        truth = {p: engine.generate([i], how)[0].text for p, i in zip(prompts, ids, strict=True)}
    engine = Engine(model, EngineConfig(memory_bytes=96 << 20))  # small: pages run out, sequences are preempted
    engine.start()
    before = engine.stats()
    with tempfile.TemporaryDirectory() as folder:
        config = AppConfig(
            store=str(Path(folder) / "store.sqlite"),
            http=HttpConfig(port=0),
            layers=("trace", "limits"),
            limits=LimitsConfig(concurrent=2 * clients),
        )
        app = App(config, {"m": Served("m", LocalModel(model, engine, "m"), "model")})
        listener = bind(config.http, False)
        running = server(app)
        thread = threading.Thread(target=lambda: running.run(sockets=[listener]), daemon=True)
        thread.start()
        try:
            seen = asyncio.run(_clients(listener.getsockname()[1], truth, clients, seconds, tokens, seed))
            deadline = time.monotonic() + 60
            while not engine.idle and time.monotonic() < deadline:
                time.sleep(0.05)
            after = engine.stats()
        finally:
            running.should_exit = True
            thread.join(60)
            engine.close()
    leak = before.pages_free - after.pages_free + after.running + after.waiting
    return seen, leak, len(truth)


async def _clients(port: int, truth: dict[str, str], clients: int, seconds: float, tokens: int, seed: int) -> Seen:
    import httpx2

    seen = Seen()
    end = time.monotonic() + seconds
    limits = httpx2.Limits(max_connections=None)
    base = f"http://127.0.0.1:{port}/v1"
    async with httpx2.AsyncClient(base_url=base, timeout=300, limits=limits, trust_env=False) as http:
        await _ready(http)

        async def client(number: int) -> None:
            rng = random.Random(f"{seed}/{number}")
            while time.monotonic() < end:
                await _ask(http, rng, truth, tokens, seen)

        await asyncio.gather(*(client(i) for i in range(clients)))
    return seen


async def _ready(http: Any) -> None:
    for _ in range(600):
        try:
            if (await http.get("/models")).status_code == 200:
                return
        except Exception:
            await asyncio.sleep(0.1)
    raise RuntimeError("the server did not start")


async def _ask(http: Any, rng: random.Random, truth: dict[str, str], tokens: int, seen: Seen) -> None:
    prompt = rng.choice(list(truth))
    want = truth[prompt]
    body: dict[str, Any] = {"model": "m", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
    kind = rng.choice(("whole", "whole", "stop", "hang up"))
    if kind == "stop" and len(want) > 8:
        at = rng.randrange(2, len(want) - 3)
        body["stop"] = [want[at : at + rng.randint(1, 3)]]
        want = want[: want.index(body["stop"][0])]
    patience = rng.randint(1, 12) if kind == "hang up" else None
    text, last, pieces = "", None, 0
    async with http.stream("POST", "/completions", json=body) as reply:
        if reply.status_code != 200:
            await reply.aread()
            seen.refused += 1
            await asyncio.sleep(0.2)
            return
        async for line in reply.aiter_lines():
            if not line.startswith("data:") or line.endswith("[DONE]"):
                continue
            for choice in json.loads(line[5:]).get("choices", ()):
                if not choice.get("text"):
                    continue
                now = time.perf_counter()
                if last is not None:
                    seen.gaps.append(now - last)
                last, pieces = now, pieces + 1
                text += choice["text"]
            if patience is not None and pieces >= patience:
                break
    if patience is not None:
        seen.hung_up += 1
        right = want.startswith(text)
    else:
        seen.stopped += kind == "stop"
        seen.whole += kind == "whole"
        right = text == want
    if not right:
        seen.wrong.append(f"{kind} {prompt!r}: {text!r} and not {want!r}")
