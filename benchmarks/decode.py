"""Decode speed at batch 1 beside transformers `generate`: the same weights, the same dtype, two threads, in turn."""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.harness import Result, interleave, ratios, spread

SUMMARY = "Tokens per second of one greedy stream beside transformers generate, in float32 and bfloat16."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens per stream (default %(default)s)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "both"], default="both")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runner", choices=["native", "torch"], default="native", help="who computes our steps")


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models

    torch.set_num_threads(args.threads)
    worst: tuple[float, float, float] | None = None
    notes = []
    for dtype in ["float32", "bfloat16"] if args.dtype == "both" else [args.dtype]:
        model = models.load(models.EMBEDDED_LM, dtype=dtype, packed=dtype == "float32", progress=False)
        sides = {"ours": ours(model, args.tokens, args.runner), "transformers": theirs(model, dtype, args.tokens)}
        for side in sides.values():
            side()
        figures = interleave(sides, args.rounds)
        ratio = ratios(figures["ours"], figures["transformers"])
        own, rival = spread(figures["ours"]), spread(figures["transformers"])
        print(f"{dtype}: ours {own} tokens/s, transformers {rival}, ratio {ratio}")
        notes.append(f"{dtype}: {own.median:.1f} against {rival.median:.1f} tokens/s, ratio {ratio.median:.2f}")
        if worst is None or ratio.median < worst[2]:
            worst = (own.median, rival.median, ratio.median)
    assert worst is not None
    return Result(
        "decode",
        *worst,
        "tokens/s, the dtype with the lower ratio",
        args.rounds,
        "ratio >= 1.2",
        worst[2] >= 1.2,
        notes,
    )


def prompt_of(model: Any) -> list[int]:
    from benchmarks.rivals import questions

    return model.tokenizer.encode(questions()[1])


def ours(model: Any, tokens: int, runner: Any) -> Any:
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    engine = Engine(model, EngineConfig(memory_bytes=256 << 20, prefix_cache=False, runner=runner))
    print(f"runner: {engine.stats().runner}")
    sampling = Sampling(temperature=0, max_tokens=tokens, ignore_eos=True)
    prompt = prompt_of(model)

    def side() -> float:
        begin = time.perf_counter()
        result = engine.generate([prompt], sampling)[0]
        assert len(result.ids) == tokens
        return tokens / (time.perf_counter() - begin)

    return side


def theirs(model: Any, dtype: str, tokens: int) -> Any:
    import torch

    from benchmarks.rivals import transformers_model
    from idiolect import models

    rival = transformers_model(
        models.load(models.EMBEDDED_LM, dtype="float32", progress=False) if dtype != "float32" else model, dtype
    )
    ids = torch.tensor([prompt_of(model)])
    mask = torch.ones_like(ids)

    def side() -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            out = rival.generate(
                ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0
            )
        assert out.shape[1] == ids.shape[1] + tokens
        return tokens / (time.perf_counter() - begin)

    return side
