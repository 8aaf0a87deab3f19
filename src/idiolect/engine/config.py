"""What an engine is told once, when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from idiolect.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Memory and batching limits. Every byte of the KV cache is planned from these before the first request."""

    page_size: int = 16  # tokens in a page
    memory_bytes: int = 1 << 30  # for keys and values; the operating system only backs what is touched
    pages: int | None = None  # give the number of pages instead of bytes
    max_batch: int = 32  # sequences that generate at the same time
    step_tokens: int = 512  # tokens of one step: all decodes first, prompt chunks with what is left
    max_queue: int = 256  # requests that may wait before `Overloaded` is raised
    context: int | None = None  # a lower limit than the model's own
    prefix_cache: bool = True  # start from the keys and values of an equal beginning, where one is still in memory
    runner: Literal["auto", "torch", "native", "cuda"] = "auto"  # who computes: see `engine.runner.choose`
    weights: Literal["stored", "q8", "q4"] = "stored"  # native, cuda: float weights as int8 or int4, when loading
    kv: Literal["fp16", "int8"] = "fp16"  # native: keys and values as fp16, or as int8 in half the memory
    threads: int | None = None  # native: None takes what torch takes
    slo_ttft: float = 0.5  # seconds to the first token, and
    slo_itl: float = 0.05  # mean seconds between tokens, within which a request counts as good in the metrics
    seed: int | None = None  # seeds requests that bring none; None: from the operating system

    def __post_init__(self) -> None:
        for name in (
            "page_size",
            "memory_bytes",
            "pages",
            "max_batch",
            "step_tokens",
            "max_queue",
            "context",
            "threads",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"engine {name} is {value}", hint="give 1 or more", param=name)
        if self.kv == "int8" and self.runner in ("torch", "cuda"):
            raise BadInput("engine kv int8 is for the native runner", hint="leave out kv, or runner", param="kv")
        if self.step_tokens <= self.max_batch:
            raise BadInput(
                f"engine step_tokens ({self.step_tokens}) must exceed max_batch ({self.max_batch})",
                hint="else decoding leaves no room for any prompt",
                param="step_tokens",
            )
