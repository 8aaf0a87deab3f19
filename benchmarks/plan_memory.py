"""The planner beside what processes really use: peak memory of tuning and serving a model of SmolLM2-135M's shape.

Every case runs in a process of its own, on random weights (their values change no size). A first step makes the
optimiser's states; then the system's record of the peak is reset (/proc/self/clear_refs, Linux) and two more steps are
measured. What Python, torch and the imports take is measured in the same way on a network of one narrow layer, and is
the only constant that is added to the plan.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from typing import Any

from benchmarks.harness import Result

SUMMARY = "Planned peak memory beside measured, for full, LoRA and QLoRA steps and for serving."
SMOL = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
NOTHING = {**SMOL, "vocab_size": 64, "num_hidden_layers": 1, "hidden_size": 72, "intermediate_size": 96}
CASES = ("full", "lora", "qlora", "serve")
LENGTH, BATCH, CONTEXT = 256, 8, 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--micro", type=int, default=512, help="tokens of a micro-batch (default %(default)s)")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "mixed"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)


def run(args: argparse.Namespace) -> Result:
    rows = []
    for case in args.cases:
        floor, small = child(case, NOTHING, args), planned(case, NOTHING, args)
        constant = floor - small
        measured, plan = child(case, SMOL, args), planned(case, SMOL, args) + constant
        rows.append((case, measured, plan))
        print(
            f"{case:6} measured {measured / 1e6:7.0f} MB, planned {plan / 1e6:7.0f} MB "
            f"(of which {constant / 1e6:.0f} MB interpreter and imports): {plan / measured - 1:+.1%}",
            flush=True,
        )
    worst = max(rows, key=lambda row: abs(row[2] / row[1] - 1))
    error = abs(worst[2] / worst[1] - 1)
    return Result(
        "plan_memory",
        error,
        None,
        None,
        "largest error of a planned peak, as a share of the measured one",
        len(rows),
        "0.10 or less",
        error <= 0.10,
        [f"{case}: {plan / measured:.3f}" for case, measured, plan in rows],
    )


def planned(case: str, config: dict[str, Any], args: argparse.Namespace) -> float:
    from idiolect.core.plan import Section, shape_of
    from idiolect.core.plan.plan import Serving, Training, serving, training

    shape = shape_of(config)
    if case == "serve":
        sections = serving(shape, Serving("fp32", CONTEXT, BATCH, cache=4))
    else:
        sections = training(shape, Training(case, args.precision, micro=args.micro, length=LENGTH))
    found: Section = next(s for s in sections if s.title.startswith("memory of"))
    assert found.total is not None
    return found.total.value


def child(case: str, config: dict[str, Any], args: argparse.Namespace) -> float:
    """Peak bytes of the case in a process of its own."""
    words = [case, json.dumps(config), str(args.micro), args.precision]
    code = "import sys; from benchmarks.plan_memory import inside; inside(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def inside(case: str, config: str, micro: str, precision: str) -> None:
    """The child: run the case, print the peak."""
    import torch

    torch.set_num_threads(2)
    work = serve(json.loads(config)) if case == "serve" else steps(case, json.loads(config), int(micro), precision)
    work()
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")
    work()
    work()
    with open("/proc/self/status") as file:  # noqa: PTH123
        print(next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")))


def blank(config: dict[str, Any], dtype: Any) -> Any:
    from idiolect.models.llama import Llama

    model = Llama(config)
    model.initialise()
    return model.to(dtype)


def steps(method: str, config: dict[str, Any], micro: int, precision: str) -> Any:
    import torch

    from idiolect import weights
    from idiolect.data.batch import TrainBatch
    from idiolect.nn import Batch
    from idiolect.train import TrainConfig, Trainer
    from idiolect.train.objectives.lm import LM
    from idiolect.tune import TuneConfig, attach

    whole = precision == "fp32" or (precision == "mixed" and method == "full")
    model = blank(config, torch.float32 if whole else torch.bfloat16)
    if method != "full":
        model.requires_grad_(False)
        if method == "qlora":
            weights.quantise_model(model, "nf4")
        attach(model, TuneConfig(method="lora", rank=8, targets=("q_proj", "k_proj", "v_proj", "o_proj")))

    class Steps:
        steps_per_epoch = 3

        def step(self, number: int) -> list[TrainBatch]:
            ids = torch.randint(config["vocab_size"], (micro // LENGTH, LENGTH))
            counted = torch.ones(ids.shape)
            counted[:, -1] = 0
            return [TrainBatch(Batch.pack(list(ids)), ids.roll(-1, 1).flatten(), counted.flatten())]

    settings = TrainConfig(steps=3, precision=precision)  # type: ignore[arg-type]
    trainer = Trainer(model, LM(), Steps(), settings)
    model.train()
    return trainer.step


def serve(config: dict[str, Any]) -> Any:
    import torch

    from idiolect import models
    from idiolect.core.call import Sampling
    from idiolect.engine import Engine, EngineConfig
    from idiolect.models.read import open_source
    from idiolect.models.words import tokenizer_of

    model = blank(config, torch.float32).eval()
    model.tokenizer = tokenizer_of(open_source(models.EMBEDDED_LM, progress=False))
    model.requires_grad_(False)
    pages = BATCH * CONTEXT // 16
    engine = Engine(model, EngineConfig(pages=pages, max_batch=BATCH, prefix_cache=False, context=CONTEXT, seed=0))
    prompts = [[(i + j) % config["vocab_size"] for j in range(CONTEXT - 8)] for i in range(BATCH)]
    ask = Sampling(temperature=0, max_tokens=8, ignore_eos=True)
    return lambda: engine.generate(prompts, ask)
