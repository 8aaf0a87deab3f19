"""Greedy tokens of our engine beside llama.cpp's on a GGUF file that we wrote: weights, tokenizer and metadata.

What counts as equal is in `rivals/greedy.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Result

SUMMARY = "Greedy tokens equal to llama.cpp's on the file that `idiolect export` writes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=20)


def run(args: argparse.Namespace) -> Result:
    import torch

    from benchmarks.rivals import greedy, questions
    from idiolect import models, weights

    torch.set_num_threads(args.threads)
    model: Any = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    texts = questions()[: args.prompts]
    prompts = [model.tokenizer.encode(text) for text in texts]
    mine = greedy.generate(model, prompts, args.tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.gguf"
        for line in weights.export_gguf(model, path, "f32", check=False).lines():
            print(line.replace(folder, ""))
        rival = greedy.load(path, args.threads)
        cut = sum(rival.tokenize(t.encode(), add_bos=False, special=False) != p for t, p in zip(texts, prompts))
        found = greedy.compare(model, rival, texts, prompts, mine)
        del rival
    print(f"{len(prompts)} prompts, {args.tokens} tokens each: {found}; {cut} are cut into other tokens by llama.cpp")
    return Result(
        "export_gguf",
        float(found.same + found.ties),
        float(found.prompts),
        (found.same + found.ties) / found.prompts,
        "prompts with llama.cpp's tokens on our file (ties under 1e-3 apart allowed)",
        found.prompts,
        "all, and the same token ids of every prompt",
        found.wrong == 0 and cut == 0,
        [f"{found}; {cut} tokenised otherwise"],
    )
