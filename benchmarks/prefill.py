"""Prompt processing beside transformers `generate`: one long prompt and its first token, in turn."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, interleave, ratios, spread

SUMMARY = "Prompt tokens per second (one prompt, first token out) beside transformers, in float32 and bfloat16."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=512, help="prompt length (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runner", choices=["native", "torch"], default="native", help="who computes our steps")


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models

    torch.set_num_threads(args.threads)
    notes = []
    shown: tuple[float, float, float] | None = None
    for dtype in ("float32", "bfloat16"):
        model = models.load(models.EMBEDDED_LM, dtype=dtype, packed=dtype == "float32", progress=False)
        prompt = text_ids(model, args.tokens)
        sides = {"ours": ours(model, prompt, args.runner), "transformers": theirs(model, dtype, prompt)}
        for side in sides.values():
            side()
        figures = interleave(sides, args.rounds)
        ratio = ratios(figures["ours"], figures["transformers"])
        own, rival = spread(figures["ours"]), spread(figures["transformers"])
        print(f"{dtype}: ours {own} prompt tokens/s, transformers {rival}, ratio {ratio}")
        notes.append(f"{dtype}: {own.median:.0f} against {rival.median:.0f} tokens/s, ratio {ratio.median:.2f}")
        if shown is None or ratio.median < shown[2]:
            shown = (own.median, rival.median, ratio.median)
    assert shown is not None
    return Result(
        "prefill",
        *shown,
        "prompt tokens/s, the dtype with the lower ratio",
        args.rounds,
        "ratio >= 1.2",
        shown[2] >= 1.2,
        notes,
    )


def text_ids(model: Any, tokens: int) -> list[int]:
    """Real text of this repository, cut to the length that is wanted."""
    text = (Path(__file__).parent.parent / "LICENSE").read_text(encoding="utf-8")
    ids = model.tokenizer.encode(text)
    return (ids * (tokens // len(ids) + 1))[:tokens]


def ours(model: Any, prompt: list[int], runner: Any) -> Any:
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    engine = Engine(model, EngineConfig(memory_bytes=256 << 20, prefix_cache=False, runner=runner))
    print(f"runner: {engine.stats().runner}")
    sampling = Sampling(temperature=0, max_tokens=1, ignore_eos=True)

    def side() -> float:
        begin = time.perf_counter()
        engine.generate([prompt], sampling)
        return len(prompt) / (time.perf_counter() - begin)

    return side


def theirs(model: Any, dtype: str, prompt: list[int]) -> Any:
    import torch

    from benchmarks.rivals import transformers_model
    from idiolect import models

    rival = transformers_model(
        models.load(models.EMBEDDED_LM, dtype="float32", progress=False) if dtype != "float32" else model, dtype
    )
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)

    def side() -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            rival.generate(ids, attention_mask=mask, max_new_tokens=1, do_sample=False, pad_token_id=0)
        return len(prompt) / (time.perf_counter() - begin)

    return side
