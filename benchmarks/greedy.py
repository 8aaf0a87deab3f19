"""Greedy tokens beside llama.cpp on the same file: the embedded GGUF with every tensor dequantised to float32.

What counts as equal is in `rivals/greedy.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.harness import Result

SUMMARY = "Greedy tokens equal to llama.cpp's on the same float32 weights."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import torch

    from benchmarks.rivals import greedy, llama_cpp_file, questions
    from idiolect import models

    torch.set_num_threads(args.threads)
    model = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    prompts = [model.tokenizer.encode(text) for text in questions()]
    mine = greedy.generate(model, prompts, args.tokens)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "f32.gguf"
        llama_cpp_file(Path(model.source.path), file)
        found = greedy.compare(model, greedy.load(file, args.threads), questions(), prompts, mine)
    print(f"{len(prompts)} prompts, {args.tokens} tokens each: {found}")
    return Result(
        "greedy",
        float(found.same + found.ties),
        float(found.prompts),
        (found.same + found.ties) / found.prompts,
        "prompts with llama.cpp's tokens (ties under 1e-3 apart allowed)",
        found.prompts,
        "all",
        found.wrong == 0,
        [str(found)],
    )
