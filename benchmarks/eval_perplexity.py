"""Perplexity of WikiText-2's test part beside the sliding-window script of transformers' documentation.

The script (huggingface.co/docs/transformers/perplexity): windows of `max_length` tokens that move on by `stride`; in
each the loss is taken of the tokens that no earlier window scored, and the mean is weighted by their number less one.
Ours is `Roll` through the same windows: every token once, none weighted. Bits per byte stand beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path

SUMMARY = "Perplexity of WikiText-2 test beside transformers' sliding-window script, with bits per byte."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--stride", type=int, default=512)
    parser.add_argument("--characters", type=int, default=None, help="only the beginning of the text")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--threads", type=int, default=2)


def theirs(model: Any, ids: list[int], length: int, stride: int) -> float:
    """The script's own steps."""
    import torch

    every = torch.tensor([ids])
    total, count, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + length, len(ids))
        fresh = end - before
        window = every[:, begin:end]
        target = window.clone()
        target[:, :-fresh] = -100
        with torch.no_grad():
            loss = model(window, labels=target).loss
        scored = int((target != -100).sum()) - 1
        total += float(loss) * scored
        count += scored
        before = end
        if end == len(ids):
            break
    return math.exp(total / count)


def run(args: argparse.Namespace) -> Result:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from idiolect import models
    from idiolect.evals.systems import LocalConfig, LocalSystem
    from idiolect.evals.types import Roll, Rolled

    torch.set_num_threads(args.threads)
    path = data_path(args.data, "corpora/wikitext2/test.raw.gz")
    text = gzip.decompress(path.read_bytes()).decode()[: args.characters]
    system = LocalSystem(LocalConfig(args.model), progress=False)
    model = system.model
    with tempfile.TemporaryDirectory() as scratch:
        plain = models.load(args.model, dtype="float32", packed=False, progress=False)
        models.save(plain, Path(scratch) / "hf")
        del plain
        other: Any = AutoModelForCausalLM.from_pretrained(Path(scratch) / "hf", dtype=torch.float32).eval()
        ids = AutoTokenizer.from_pretrained(Path(scratch) / "hf")(text, add_special_tokens=False)["input_ids"]

    async def roll() -> Rolled:
        async for _, reply in system.answer([Roll(text, args.max_length, args.stride)]):
            assert isinstance(reply, Rolled), reply
            return reply
        raise AssertionError

    begin = time.perf_counter()
    found = asyncio.run(roll())
    ours_seconds = time.perf_counter() - begin
    ours = math.exp(-found.logprob / found.tokens)
    print(f"ours {ours:.4f} after {ours_seconds:.0f} s; now the script, through the same windows", flush=True)
    begin = time.perf_counter()
    rival = theirs(other, ids, args.max_length, args.stride)
    rival_seconds = time.perf_counter() - begin
    bits = -found.logprob / math.log(2)
    print(f"tokens           {len(model.tokenizer.encode(text)):,} ours, {len(ids):,} transformers")
    print(f"perplexity       {ours:.4f} ours, {rival:.4f} transformers' script, difference {ours - rival:+.4f}")
    print(f"bits per byte    {bits / found.bytes:.4f} ({found.bytes:,} bytes)")
    print(f"bits per char    {bits / found.chars:.4f} ({found.chars:,} characters)")
    print(f"seconds          {ours_seconds:.1f} ours, {rival_seconds:.1f} transformers")
    system.close()
    return Result(
        bench="eval_perplexity",
        ours=ours,
        rival=rival,
        ratio=ours / rival,
        unit="perplexity (equal is the goal)",
        n=found.tokens,
        goal="within 0.01 of transformers' script",
        met=abs(ours - rival) <= 0.01,
        notes=[
            f"bits per byte {bits / found.bytes:.4f}, per character {bits / found.chars:.4f}",
            f"window {args.max_length}, stride {args.stride}; {ours_seconds:.1f} s beside {rival_seconds:.1f} s",
        ],
    )
