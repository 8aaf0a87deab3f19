"""Greedy tokens beside llama.cpp on the same file: the embedded GGUF with every tensor dequantised to float32.

Keys and values are float32 on both sides. Two programs add in different orders, so a difference is allowed where our
two best logits lie within 0.001 of one another; each such place is printed, and the comparison of that prompt ends
there, as the texts part.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Result

SUMMARY = "Greedy tokens equal to llama.cpp's on the same float32 weights."
TIE = 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import torch

    from benchmarks.rivals import questions
    from idiolect import models
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    torch.set_num_threads(args.threads)
    model = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    prompts = [model.tokenizer.encode(text) for text in questions()]
    engine = Engine(model, EngineConfig(memory_bytes=256 << 20))
    mine = engine.generate(prompts, Sampling(temperature=0, max_tokens=args.tokens, ignore_eos=True, logprobs=2))
    with tempfile.TemporaryDirectory() as folder:
        rival = llama_cpp(model, Path(folder), args.threads)
        same, ties, wrong = 0, 0, 0
        for text, prompt, result in zip(questions(), prompts, mine, strict=True):
            other = theirs(rival, prompt, args.tokens)
            at = next((i for i, (a, b) in enumerate(zip(result.ids, other, strict=True)) if a != b), None)
            if at is None:
                same += 1
                continue
            token = result.tokens[at]
            gap = token.top[0][2] - token.top[1][2]
            ties += gap < TIE
            wrong += gap >= TIE
            print(
                f"{text!r} token {at}: ours {token.text!r}, llama.cpp {model.tokenizer.piece(other[at])!r}; "
                f"our two best logits differ by {gap:.2e}{'' if gap < TIE else '  NOT A TIE'}"
            )
    print(f"{same} of {len(prompts)} prompts equal for {args.tokens} tokens, {ties} part at a tie, {wrong} elsewhere")
    return Result(
        "greedy",
        float(same + ties),
        float(len(prompts)),
        (same + ties) / len(prompts),
        "prompts with llama.cpp's tokens (ties under 1e-3 apart allowed)",
        len(prompts),
        "all",
        wrong == 0,
        [f"{same} equal throughout, {ties} part at a tie, {wrong} elsewhere"],
    )


def llama_cpp(model: Any, folder: Path, threads: int) -> Any:
    import llama_cpp

    from benchmarks.rivals import llama_cpp_file

    target = folder / "f32.gguf"
    llama_cpp_file(Path(model.source.path), target)
    return llama_cpp.Llama(
        str(target),
        n_ctx=512,
        n_threads=threads,
        n_threads_batch=threads,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        flash_attn=False,
        verbose=False,
        use_mmap=False,
    )


def theirs(rival: Any, prompt: list[int], tokens: int) -> list[int]:
    rival.reset()
    found = []
    for token in rival.generate(prompt, temp=0.0, repeat_penalty=1.0):
        found.append(int(token))
        if len(found) == tokens:
            break
    return found
