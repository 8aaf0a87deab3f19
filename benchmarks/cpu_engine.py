"""The native CPU engine beside llama.cpp (the same file, and its fastest format) and transformers in bfloat16.

Everything that the engine adds is in its figures: scheduling, sampling, text, metrics. The rivals are timed with a
greedy argmax of the full logits in the loop, and nothing else. All sides take turns within each round. `busy` is decode
beside a process that never rests; `memory` and `ready` are taken in processes of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, interleave, ratios, spread

SUMMARY = "Decode, prefill and batches of the native engine beside llama.cpp and transformers, and the error of each."
PROMPT = 512
SHORT = 16
TASKS = ("decode", "decode512", "prefill", "streams8", "streams32", "busy", "kl", "memory", "ready")
APART = {"kl", "memory", "ready"}  # not tokens per second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of a stream (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tasks", default=",".join(TASKS), help="which to run, of %(default)s")
    parser.add_argument("--rivals", default="q4_1,q4_0,transformers", help="beside whom")


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models

    torch.set_num_threads(args.threads)
    model = models.load(models.EMBEDDED_LM, dtype="stored", progress=False)
    words = (Path(__file__).parent / "data" / "offtopic.txt").read_text(encoding="utf-8")
    text = model.tokenizer.encode(words * 20)[:PROMPT]
    tasks, rivals = args.tasks.split(","), args.rivals.split(",")
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Any] = {"ours": Ours(model)}
        if "q4_1" in rivals:
            sides["llama.cpp Q4_1"] = Llama(model.source.path, args.threads)
        if "q4_0" in rivals:
            from benchmarks.rivals import llama_cpp_file

            other = Path(folder) / "q4_0.gguf"
            llama_cpp_file(model.source.path, other, "Q4_0", only=("Q4_1",))
            sides["llama.cpp Q4_0"] = Llama(other, args.threads)
        if "transformers" in rivals:
            sides["transformers bf16"] = Transformers()
        print(f"runner: {sides['ours'].engine.stats().runner}\n")
        medians = {}
        for task in [t for t in tasks if t not in APART]:
            with neighbour() if task == "busy" else contextlib.nullcontext():
                medians[task] = measure(task, sides, text, args)
        notes = [f"{task} {name}: {ratio:.2f}x" for task, found in medians.items() for name, ratio in found.items()]
        if "kl" in tasks:
            notes += errors(sides, text)
        if "memory" in tasks or "ready" in tasks:
            long = model.tokenizer.encode(words * 60)[:2048]
            notes += apart(tasks, model.source.path, long, Path(folder), args)
    first = medians.get("decode", {})
    ratio = first.get("llama.cpp Q4_1")
    figure = sides["ours"].last.get("decode", 0.0)
    return Result(
        "cpu_engine",
        figure,
        figure / ratio if ratio else None,
        ratio,
        "tokens/s of one stream, beside llama.cpp on the same file",
        args.rounds,
        "ratio >= 2.5",
        None if ratio is None else ratio >= 2.5,
        notes,
    )


def measure(task: str, sides: dict[str, Any], text: list[int], args: argparse.Namespace) -> dict[str, float]:
    """Tokens per second of every side; returns the medians of the ratios."""

    def bound(side: Any) -> Callable[[], float]:
        if task == "prefill":
            return lambda: float(side.prefill(text))
        if task.startswith("streams"):
            return lambda: float(side.streams(int(task.removeprefix("streams")), text, args.tokens // 2))
        start = text[:PROMPT] if task == "decode512" else text[:1]
        return lambda: float(side.decode(start, args.tokens))

    calls = {name: bound(side) for name, side in sides.items()}
    for call in calls.values():
        call()
    figures = interleave(calls, args.rounds)
    found = {}
    for name, values in figures.items():
        line = f"{task:10} {name:18} {spread(values)} tokens/s"
        if name == "ours":
            sides["ours"].last[task] = spread(values).median
        else:
            ratio = ratios(figures["ours"], values)
            found[name] = ratio.median
            line += f"   ratio {ratio}"
        print(line, flush=True)
    return found


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """One other busy process on the machine."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def apart(tasks: list[str], path: Path, text: list[int], folder: Path, args: argparse.Namespace) -> list[str]:
    """Peak memory of one stream that fills 2,048 tokens, and seconds from imports to ready, each in its own process."""
    ids = folder / "ids.json"
    ids.write_text(json.dumps(text))

    def alone(side: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.rivals.process", side, str(path), str(ids), str(args.threads)]
        return dict(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    ours = [alone("ours") for _ in range(3 if "ready" in tasks else 1)]
    lines = []
    if "memory" in tasks:
        peak, torch_only = spread([o["peak"] for o in ours]).median, alone("torch")["peak"]
        lines.append(f"memory ours: {peak:.0f} MB at most, {torch_only:.0f} of them torch's import alone")
        if "q4_1" in args.rivals:
            rival = alone("llama")["peak"]
            lines.append(f"memory llama.cpp Q4_1: {rival:.0f} MB, ratio {peak / rival:.2f} (goal <= 2.5)")
    if "ready" in tasks:
        whole, load = spread([o["ready"] for o in ours]), spread([o["load"] for o in ours])
        lines.append(f"ready ours: {whole} s after the imports (goal < 0.5), of which reading the model {load}")
    for line in lines:
        print(line, flush=True)
    return lines


class Ours:
    def __init__(self, model: Any) -> None:
        from idiolect.engine import Engine, EngineConfig

        self.last: dict[str, float] = {}
        self.engine = Engine(model, EngineConfig(memory_bytes=512 << 20, prefix_cache=False))

    def _generate(self, prompts: list[list[int]], tokens: int) -> list[Any]:
        from idiolect.core.call import Sampling

        return self.engine.generate(prompts, Sampling(temperature=0, max_tokens=tokens, ignore_eos=True))

    def prefill(self, text: list[int]) -> float:
        (result,) = self._generate([text], 1)
        return len(text) / result.metrics.ttft

    def decode(self, start: list[int], tokens: int) -> float:
        (result,) = self._generate([start], tokens + 1)
        return tokens / sum(result.metrics.itl)

    def streams(self, count: int, text: list[int], tokens: int) -> float:
        results = self._generate([text[i : i + SHORT] for i in range(count)], tokens + 1)
        return count * tokens / max(sum(r.metrics.itl) for r in results)

    def logits(self, text: list[int]) -> np.ndarray:
        """[N, V] of a text, through the scoring path."""
        from idiolect.engine import Scored

        runner: Any = self.engine._runner
        rows, head = [], runner.head

        def noted(wanted: list[int]) -> Any:
            found = head(wanted)
            rows.append(found.numpy().copy())
            return found

        runner.head = noted
        try:
            self.engine.score([Scored(tuple(text), 1)])
        finally:
            runner.head = head
        return np.concatenate(rows)


class Llama:
    def __init__(self, path: Path, threads: int) -> None:
        from benchmarks.rivals.llama import LlamaCpp

        self.one = LlamaCpp(path, context=2048, threads=threads)
        self.many = LlamaCpp(path, context=8192, sequences=32, threads=threads)

    def prefill(self, text: list[int]) -> float:
        self.one.clear()
        begin = time.perf_counter()
        self.one.prompts([text])
        return len(text) / (time.perf_counter() - begin)

    def decode(self, start: list[int], tokens: int) -> float:
        self.one.clear()
        (token,) = self.one.prompts([start])
        begin = time.perf_counter()
        for i in range(tokens):
            self.one.decode([(token, len(start) + i, 0, True)])
            token = self.one.best(0)
        return tokens / (time.perf_counter() - begin)

    def streams(self, count: int, text: list[int], tokens: int) -> float:
        self.many.clear()
        chosen = self.many.prompts([text[i : i + SHORT] for i in range(count)])
        begin = time.perf_counter()
        for i in range(tokens):
            self.many.decode([(t, SHORT + i, s, True) for s, t in enumerate(chosen)])
            chosen = [self.many.best(s) for s in range(count)]
        return count * tokens / (time.perf_counter() - begin)

    def logits(self, text: list[int]) -> np.ndarray:
        self.one.clear()
        rows = self.one.decode([(t, p, 0, True) for p, t in enumerate(text)])
        return np.stack([self.one.logits(i).copy() for i in rows])[:-1]


class Transformers:
    def __init__(self) -> None:
        from benchmarks.rivals import transformers_model
        from idiolect import models

        self.model = transformers_model(models.load(models.EMBEDDED_LM, dtype="float32", progress=False), "bfloat16")

    def _run(self, ids: Any, past: Any = None) -> tuple[Any, Any]:
        import torch

        with torch.inference_mode():
            out = self.model(ids, past_key_values=past, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values

    def prefill(self, text: list[int]) -> float:
        import torch

        begin = time.perf_counter()
        self._run(torch.tensor([text]))
        return len(text) / (time.perf_counter() - begin)

    def _steps(self, prompts: list[list[int]], tokens: int) -> float:
        import torch

        token, past = self._run(torch.tensor(prompts))
        begin = time.perf_counter()
        for _ in range(tokens):
            token, past = self._run(token, past)
        return len(prompts) * tokens / (time.perf_counter() - begin)

    def decode(self, start: list[int], tokens: int) -> float:
        return self._steps([start], tokens)

    def streams(self, count: int, text: list[int], tokens: int) -> float:
        return self._steps([text[i : i + SHORT] for i in range(count)], tokens)


def errors(sides: dict[str, Any], text: list[int]) -> list[str]:
    """Kullback-Leibler divergence from the dequantised model in float32, and agreement of the most likely token."""
    import torch

    from idiolect import models
    from idiolect.evals.stats import paired
    from idiolect.nn.batch import Batch

    full = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    with torch.inference_mode():
        want = full(Batch.pack([text]))[:-1].log_softmax(-1)
    lines, each = [], {}
    for name, side in sides.items():
        if not hasattr(side, "logits"):
            continue
        got = torch.from_numpy(side.logits(text)).log_softmax(-1)
        each[name] = (want.exp() * (want - got)).sum(-1).numpy()
        top = float((want.argmax(-1) == got.argmax(-1)).float().mean())
        lines.append(f"KL {name}: {each[name].mean():.5f}, same token {top:.3f}, n={len(want)}")
        print(lines[-1])
        if name != "ours":
            gap = paired(each["ours"], each[name]).estimate
            lines.append(f"KL ours - {name}: {gap.value:+.5f} [{gap.low:+.5f}, {gap.high:+.5f}], paired")
            print(lines[-1])
    return lines
