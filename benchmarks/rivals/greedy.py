"""Greedy tokens of ours beside llama.cpp's on a GGUF file, everything in float32.

Two programs add in different orders, so a difference is allowed where our two best logits lie within 0.001 of one
another; each such place is printed, and the comparison of that prompt ends there, as the texts part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIE = 1e-3


@dataclass
class Agreement:
    """How many prompts went which way."""

    same: int = 0
    ties: int = 0
    wrong: int = 0

    @property
    def prompts(self) -> int:
        return self.same + self.ties + self.wrong

    def __str__(self) -> str:
        return f"{self.same} equal throughout, {self.ties} part at a tie, {self.wrong} elsewhere"


def generate(model: Any, prompts: Sequence[Sequence[int]], tokens: int) -> list[Any]:
    """Ours: results with the two best logits of every token."""
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig

    engine = Engine(model, EngineConfig(memory_bytes=256 << 20))
    return engine.generate(prompts, Sampling(temperature=0, max_tokens=tokens, ignore_eos=True, logprobs=2))


def load(path: Path, threads: int) -> Any:
    """llama.cpp with keys and values in float32."""
    import llama_cpp

    return llama_cpp.Llama(
        str(path),
        n_ctx=512,
        n_threads=threads,
        n_threads_batch=threads,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        flash_attn=False,
        verbose=False,
        use_mmap=False,
    )


def compare(
    model: Any, rival: Any, texts: Sequence[str], prompts: Sequence[list[int]], mine: Sequence[Any]
) -> Agreement:
    """The rival continues every prompt as far as ours did."""
    found = Agreement()
    for text, prompt, result in zip(texts, prompts, mine, strict=True):
        other = continued(rival, prompt, len(result.ids))
        at = next((i for i, (a, b) in enumerate(zip(result.ids, other, strict=True)) if a != b), None)
        if at is None:
            found.same += 1
            continue
        token = result.tokens[at]
        gap = token.top[0][2] - token.top[1][2]
        found.ties += gap < TIE
        found.wrong += gap >= TIE
        print(
            f"{text!r} token {at}: ours {token.text!r}, llama.cpp {model.tokenizer.piece(other[at])!r}; "
            f"our two best logits differ by {gap:.2e}{'' if gap < TIE else '  NOT A TIE'}"
        )
    return found


def continued(rival: Any, prompt: list[int], tokens: int) -> list[int]:
    rival.reset()
    found = []
    for token in rival.generate(prompt, temp=0.0, repeat_penalty=1.0):
        found.append(int(token))
        if len(found) == tokens:
            break
    return found
