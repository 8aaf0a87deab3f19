"""Serving on one NVIDIA GPU beside transformers: decode of 1, 8, 32 and 256 streams, prefill of 512 and 8,000 tokens.

Two Llama shapes with random weights (speed does not depend on their values): SmolLM2-135M's, and 1.24 B of Llama 3.2's
with a smaller vocabulary. Ours is the engine as it serves, bfloat16 (int8 and int4 weights beside it): scheduling,
paging, sampling and detokenising included; every stream has a prompt of 128 tokens and its own 128 greedy tokens, and
what is timed is the decoding, from the first token of the last stream to the end. The rival is transformers'
`generate` in bfloat16 with a batch of as many equal prompts: its default (dynamic cache), and with a static cache and
torch.compile where --compile asks for it (one stream; compiling takes a minute). Its figure is the difference of
generating 1 and 128 tokens, so that no prefill is in it. Rounds alternate.

MBU: bytes of weights, keys and values that a step must read, over the measured copy bandwidth; MFU of a prefill: its
multiply-adds over the measured 8,192^3 product. `graph` is the GPU's own time for a step.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.cuda_train import SMOL
from benchmarks.harness import Result, spread

SUMMARY = "Decode and prefill on a GPU beside transformers' generate."
ONE_B = {
    **SMOL,
    "vocab_size": 65536,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 16384,
}
SHAPES = {"135M": {**SMOL, "max_position_embeddings": 16384}, "1B": ONE_B}
TOKENS = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", default="1,8,32,256")
    parser.add_argument("--prompts", default="512,8000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", default="135M,1B")
    parser.add_argument("--weights", default="stored,q8,q4", help="the rival runs beside the first (%(default)s)")
    parser.add_argument(
        "--compile", action="store_true", help="also transformers with a static cache and torch.compile"
    )


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect.cuda import ceiling

    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device")
    best = ceiling.measure()
    print(
        f"{best.card}: copies {best.bandwidth / 1e12:.2f} TB/s, 8192^3 bfloat16 {2 * best.bfloat16 / 1e12:.0f} TFLOP/s"
    )
    notes, shown = [best.card], None
    for name in args.shapes.split(","):
        rival = Rival(SHAPES[name])
        for weights in args.weights.split(","):
            ours = Ours(SHAPES[name], weights, max(map(int, args.streams.split(","))))
            print(f"{name} {weights}: {ours.engine.runner}")
            beside = weights == args.weights.split(",")[0]
            for streams in map(int, args.streams.split(",")):
                found = shown_decode(name, weights, streams, ours, rival if beside else None, best, args.rounds)
                if found is not None:
                    notes.append(f"{name} {streams} streams: {found[0]:.0f} against {found[1]:.0f} tokens/s")
                    shown = shown or found
            for length in map(int, args.prompts.split(",")):
                found = shown_prefill(name, weights, length, ours, rival if beside else None, best, args.rounds)
                if found is not None:
                    notes.append(f"{name} prefill {length}: {found[0]:.0f} against {found[1]:.0f} tokens/s")
            if beside and args.compile:
                print(f"{name} transformers, static cache and torch.compile, 1 stream: {rival.compiled():.0f} tokens/s")
            ours.engine.close()
            del ours
            torch.cuda.empty_cache()
        del rival
        torch.cuda.empty_cache()
    assert shown is not None
    ratio = shown[0] / shown[1]
    return Result(
        "cuda_engine", *shown, ratio, "tokens/s, 135M, one stream", args.rounds, "ratio > 1", ratio > 1, notes
    )


def shown_decode(
    name: str, weights: str, streams: int, ours: Ours, rival: Rival | None, best: Any, rounds: int
) -> tuple[float, float] | None:
    ours.decode(streams)
    ours.decode(streams)
    if rival is not None:
        rival.decode(streams)
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(ours.decode(streams))
        if rival is not None:
            theirs.append(rival.decode(streams))
    a = spread(mine)
    graph, read = ours.graph(streams), ours.read(streams)
    line = f"{name} {weights} {streams} streams: {a} tokens/s, {a.median / streams:.0f} a stream"
    line += f"; graph {1e3 * graph:.3f} ms, MBU {100 * read / graph / best.bandwidth:.0f} % of it"
    line += f", {100 * read * a.median / streams / best.bandwidth:.0f} % in all"
    if rival is None:
        print(line, flush=True)
        return None
    b = spread(theirs)
    print(f"{line}; transformers {b}, ratio {a.median / b.median:.1f}", flush=True)
    return a.median, b.median


def shown_prefill(
    name: str, weights: str, length: int, ours: Ours, rival: Rival | None, best: Any, rounds: int
) -> tuple[float, float] | None:
    for _ in range(3):
        ours.prefill(length)
    if rival is not None:
        rival.prefill(length)
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(length / ours.prefill(length))
        if rival is not None:
            theirs.append(length / rival.prefill(length))
    a = spread(mine)
    work = ours.cost.token * length + ours.cost.pair * length * (length + 1) // 2 + ours.cost.head
    line = (
        f"{name} {weights} prefill {length}: {a} tokens/s, MFU {100 * work * a.median / length / best.bfloat16:.0f} %"
    )
    if rival is None:
        print(line, flush=True)
        return None
    b = spread(theirs)
    print(f"{line}; transformers {b}, ratio {a.median / b.median:.1f}", flush=True)
    return a.median, b.median


class Bytes:
    """A tokenizer as cheap as a real one: every id is a letter."""

    bos_id = None
    eos_ids = (0,)
    specials: dict[str, int] = {}  # noqa: RUF012
    fingerprint = "bytes"

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def token_bytes(self, token: int) -> bytes:
        return b"%c" % (97 + token % 26)

    def piece(self, token: int) -> str:
        return chr(97 + token % 26)

    def stream(self) -> Any:
        return self

    def push(self, token: int) -> str:
        return chr(97 + token % 26)

    def flush(self) -> str:
        return ""


def prompts(streams: int, length: int, vocabulary: int) -> list[list[int]]:
    """A different one for each stream, so that no beginning is shared."""
    return [[1 + (7 * i + 31 * j) % (vocabulary - 1) for j in range(length)] for i in range(streams)]


class Ours:
    def __init__(self, shape: dict[str, Any], weights: str, streams: int) -> None:
        import torch

        from idiolect.engine import Engine, EngineConfig
        from idiolect.models.llama import Llama

        with torch.device("cuda"):
            model = Llama(shape)
        model.to("cuda", torch.bfloat16)
        model.initialise(0.02)
        model.requires_grad_(False).eval()
        model.tokenizer = Bytes(shape["vocab_size"])  # type: ignore[assignment]
        self.vocabulary = shape["vocab_size"]
        self.engine = Engine(
            model,
            EngineConfig(
                max_batch=max(32, streams),
                step_tokens=8192,
                memory_bytes=8 << 30,
                prefix_cache=False,
                weights=weights,  # type: ignore[arg-type]
                runner="cuda",
            ),
        )
        self.runner: Any = self.engine._runner
        self.cost = self.engine._meter.cost

    def decode(self, streams: int) -> float:
        """Tokens a second of all streams together, once all have begun."""
        import torch

        from idiolect.core.call import Sampling

        how = Sampling(temperature=0, max_tokens=TOKENS, ignore_eos=True)
        seqs = [self.engine.submit(p, how, bounded=False) for p in prompts(streams, 128, self.vocabulary)]
        while not all(seq.generated for seq in seqs):
            self.engine.step()
        torch.cuda.synchronize()
        before, begin = sum(seq.generated for seq in seqs), time.perf_counter()
        while all(not seq.done for seq in seqs):
            self.engine.step()
        torch.cuda.synchronize()
        speed = (sum(seq.generated for seq in seqs) - before) / (time.perf_counter() - begin)
        self.engine.run_until_idle()
        return speed

    def prefill(self, length: int) -> float:
        """Seconds to the first token."""
        from idiolect.core.call import Sampling

        begin = time.perf_counter()
        how = Sampling(temperature=0, max_tokens=1, ignore_eos=True)
        self.engine.generate(prompts(1, length, self.vocabulary), how)  # type: ignore[arg-type]
        return time.perf_counter() - begin

    def graph(self, streams: int) -> float:
        """Seconds of a decode step of so many streams, on the GPU alone (over contexts of 128 tokens)."""
        import torch

        from idiolect.core.call import Sampling
        from idiolect.cuda.ceiling import seconds

        how = Sampling(temperature=0, max_tokens=TOKENS, ignore_eos=True)
        seqs = [self.engine.submit(p, how, bounded=False) for p in prompts(streams, 128, self.vocabulary)]
        while not all(seq.generated > 2 for seq in seqs):
            self.engine.step()
        kept = self.runner._graphs._kept
        torch.cuda.synchronize()
        took = seconds(kept[next(reversed(kept))][0].replay)
        for seq in seqs:
            self.engine.cancel(seq)
        self.engine.run_until_idle()
        return took

    def read(self, streams: int) -> float:
        """Bytes that a step must read, half-way through the answers."""
        return self.cost.weight_bytes + self.cost.position_bytes * streams * (128 + TOKENS // 2)


class Rival:
    def __init__(self, shape: dict[str, Any]) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM
        from transformers.utils import logging

        logging.set_verbosity_error()
        config = LlamaConfig(**{k: v for k, v in shape.items() if k != "model_type"})
        config.eos_token_id = config.pad_token_id = None
        with torch.device("cuda"):
            self.model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
        self.vocabulary = shape["vocab_size"]

    def _generate(self, ids: Any, tokens: int, **how: Any) -> float:
        import torch

        torch.cuda.synchronize()
        begin = time.perf_counter()
        with torch.inference_mode():
            self.model.generate(
                ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, use_cache=True, **how
            )
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    def _ids(self, streams: int, length: int) -> Any:
        import torch

        return torch.tensor(prompts(streams, length, self.vocabulary), device="cuda")

    def decode(self, streams: int, tokens: int = TOKENS // 4) -> float:
        ids = self._ids(streams, 128)
        self._generate(ids, 1)
        return streams * (tokens - 1) / (self._generate(ids, tokens) - self._generate(ids, 1))

    def prefill(self, length: int) -> float:
        return min(self._generate(self._ids(1, length), 1) for _ in range(2))

    def compiled(self) -> float:
        ids = self._ids(1, 128)
        for _ in range(2):
            self._generate(ids, TOKENS, cache_implementation="static")
        whole, one = (self._generate(ids, n, cache_implementation="static") for n in (TOKENS, 1))
        return (TOKENS - 1) / (whole - one)
