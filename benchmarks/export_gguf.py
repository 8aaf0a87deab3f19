"""Greedy tokens of our engine beside llama.cpp's on a GGUF file that we wrote: weights, tokenizer and metadata.

As in `greedy`, a difference counts as none where our two best logits lie within 0.001 of one another.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.greedy import TIE, theirs
from benchmarks.harness import Result

SUMMARY = "Greedy tokens equal to llama.cpp's on the file that `idiolect export` writes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=20)


def run(args: argparse.Namespace) -> Result:
    import llama_cpp
    import torch

    from benchmarks.rivals import questions
    from idiolect import models, weights
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    torch.set_num_threads(args.threads)
    model: Any = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    texts = questions()[: args.prompts]
    prompts = [model.tokenizer.encode(text) for text in texts]
    engine = Engine(model, EngineConfig(memory_bytes=256 << 20))
    mine = engine.generate(prompts, Sampling(temperature=0, max_tokens=args.tokens, ignore_eos=True, logprobs=2))
    same = ties = wrong = cut = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.gguf"
        for line in weights.export_gguf(model, path, "f32", check=False).lines():
            print(line.replace(folder, ""))
        rival = llama_cpp.Llama(
            str(path),
            n_ctx=512,
            n_threads=args.threads,
            n_threads_batch=args.threads,
            type_k=llama_cpp.GGML_TYPE_F32,
            type_v=llama_cpp.GGML_TYPE_F32,
            flash_attn=False,
            verbose=False,
            use_mmap=False,
        )
        for text, prompt, result in zip(texts, prompts, mine, strict=True):
            cut += rival.tokenize(text.encode(), add_bos=False, special=False) != prompt
            other = theirs(rival, prompt, args.tokens)
            at = next((i for i, (a, b) in enumerate(zip(result.ids, other, strict=True)) if a != b), None)
            if at is None:
                same += 1
                continue
            top = result.tokens[at].top
            gap = top[0][2] - top[1][2]
            ties += gap < TIE
            wrong += gap >= TIE
            print(f"{text!r} parts at token {at}; our two best logits differ by {gap:.2e}")
        del rival
    print(f"{same} of {len(texts)} prompts equal for {args.tokens} tokens, {ties} part at a tie, {wrong} elsewhere")
    print(f"{cut} prompts are cut into other tokens by llama.cpp")
    return Result(
        "export_gguf",
        float(same + ties),
        float(len(texts)),
        (same + ties) / len(texts),
        "prompts with llama.cpp's tokens on our file (ties under 1e-3 apart allowed)",
        len(texts),
        "all, and the same token ids of every prompt",
        wrong == 0 and cut == 0,
        [f"{same} equal throughout, {ties} part at a tie, {wrong} elsewhere; {cut} tokenised otherwise"],
    )
