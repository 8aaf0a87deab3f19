"""IFEval's answers: seconds for the same prompts beside lm-evaluation-harness with transformers.

Ours is what `idiolect eval --tasks ifeval_plain` does: the task's requests, answered together by the engine. The rival
is the harness's HFLM on the same weights in transformers, float32, one prompt at a time and in padded batches; the
faster of its batch sizes counts. Both decode greedily to the end of text or `--tokens`. Loading is left out on both
sides. Both sides run in turn, `--rounds` times. How many answers are equal is printed: sums of floats in another order
may part at a near tie, and a text that has parted stays apart.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.eval_choice import rival
from benchmarks.harness import Result, data_path, ratios, spread

SUMMARY = "IFEval generation: wall time beside lm-eval with transformers, the same weights."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of an answer (lm-eval's task: 1280)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="the rival's batch sizes")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--runner", choices=["auto", "native", "torch"], default="auto", help="ours")
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models
    from idiolect.evals.ifeval.task import IfevalTask
    from idiolect.evals.systems import LocalConfig, LocalSystem

    torch.set_num_threads(args.threads)
    task = IfevalTask(data_path(args.data, "bench"), format="plain", max_tokens=args.tokens)
    items = list(task.items(args.prompts))
    system = LocalSystem(LocalConfig(args.model, runner=args.runner), progress=False)
    runner = system.engine.runner  # loads the model
    with tempfile.TemporaryDirectory() as scratch:
        plain = models.load(args.model, dtype="float32", packed=False, progress=False)
        lm = rival(plain, Path(scratch) / "hf", 1)
        del plain
        ask(system, items[:1]), ask_rival(lm, items[:1], 1, 8)  # both are warm
        ours: list[float] = []
        theirs: dict[int, list[float]] = {batch: [] for batch in args.batches}
        for _ in range(args.rounds):
            mine, seconds = ask(system, items)
            ours.append(seconds)
            for batch in args.batches:
                other, seconds = ask_rival(lm, items, batch, args.tokens)
                theirs[batch].append(seconds)
                same = sum(a == b for a, b in zip(mine, other, strict=True))
                print(f"lm-eval, batch {batch}: {seconds:.1f} s, {same} of {len(items)} answers equal ours", flush=True)
            print(f"ours, {runner}: {ours[-1]:.1f} s", flush=True)
    system.close()
    fastest = min(theirs, key=lambda batch: min(theirs[batch]))
    times = ratios(theirs[fastest], ours)
    notes = [f"lm-eval batch {batch}: {spread(took)} s" for batch, took in theirs.items()]
    notes += [f"ours {spread(ours)} s by {runner}", f"{args.tokens} tokens at most, {args.threads} threads"]
    return Result(
        "ifeval_speed",
        min(ours),
        min(theirs[fastest]),
        times.median,
        f"seconds for {len(items)} answers; ratio is lm-eval's (batch {fastest}) / ours",
        len(items),
        "at least 3 times faster",
        times.median >= 3,
        notes,
    )


def ask(system: Any, items: Sequence[Any]) -> tuple[list[str], float]:
    async def collect() -> dict[int, Any]:
        return {index: reply async for index, reply in system.answer([item.request for item in items])}

    begin = time.perf_counter()
    found = asyncio.run(collect())
    return [found[i].text for i in range(len(items))], time.perf_counter() - begin


def ask_rival(lm: Any, items: Sequence[Any], batch: int, tokens: int) -> tuple[list[str], float]:
    from lm_eval.api.instance import Instance

    lm.batch_size_per_gpu = batch
    how = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": tokens}
    requests = [
        Instance("generate_until", {}, (item.request.prompt, dict(how)), i, ("ifeval", i, 1))
        for i, item in enumerate(items)
    ]
    begin = time.perf_counter()
    found = lm.generate_until(requests, disable_tqdm=True)
    return list(found), time.perf_counter() - begin
