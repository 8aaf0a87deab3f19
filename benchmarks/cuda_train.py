"""Training on one NVIDIA GPU: MFU of pretraining a 124M GPT, and LoRA tokens per second beside transformers + peft.

Pretraining: GPT-2's small shape (12 layers, 12 heads, width 768, context 1024; vocabulary 50,304 as nanoGPT pads it),
bfloat16 with float32 masters, AdamW, clipping, compiled layers, steps of half a million random tokens. The work of a
token is 6 N + 12 L d T (Chowdhery et al. 2022, PaLM, appendix B; N: all parameters but the positions' table), which
counts attention as if it were not causal. MFU is that over the H100's 989 TFLOP/s (dense bfloat16, data sheet); the
share of a measured 8,192^3 matrix product stands beside it.

LoRA: rank 8 on q, k, v and o of a SmolLM2-135M-shaped model with random weights in bfloat16, the same weights and the
same first adapter on both sides, steps of 32 examples of 40 to 512 tokens, fused AdamW, clipping; a token is one of an
example, never padding. The rival is transformers' model under peft with SDPA, padded to a step's longest example (as
its collators do) in a plain training loop, without gradient checkpointing: its fast setting.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import Any

from benchmarks.harness import Result, interleave, ratios, spread
from benchmarks.plan_memory import SMOL as SHAPE

SUMMARY = "MFU of pretraining a 124M GPT on a GPU, and LoRA beside transformers + peft."
PEAK = 989e12  # H100 SXM, dense bfloat16, NVIDIA's data sheet
GPT = {"model_type": "gpt2", "vocab_size": 50304, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
SMOL = {**SHAPE, "rope_theta": 100000.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=10, help="timed pretraining steps (default %(default)s)")
    parser.add_argument("--windows", type=int, default=128, help="sequences of 1024 in a micro-batch (%(default)s)")
    parser.add_argument("--micros", type=int, default=4, help="micro-batches in a step (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 5 LoRA steps a side (default %(default)s)")
    parser.add_argument("--parts", default="pretrain,lora")
    parser.add_argument("--eager", action="store_true", help="pretraining without torch.compile")


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect.cuda import ceiling

    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device")
    best = ceiling.measure()
    product = 2 * best.bfloat16
    print(f"{best.card}: copies {best.bandwidth / 1e12:.2f} TB/s, 8192^3 bfloat16 {product / 1e12:.0f} TFLOP/s")
    notes = [best.card]
    mfu, share, ratio = 0.0, 0.0, None
    if "pretrain" in args.parts:
        flops, tokens, losses = pretrain(args)
        mfu, share = flops / PEAK, flops / product
        notes.append(f"{tokens:.0f} tokens/s, {100 * share:.1f} % of the measured product, loss {losses}")
        print(
            f"pretraining: {tokens / 1e3:.0f} k tokens/s, {flops / 1e12:.0f} TFLOP/s: {100 * mfu:.1f} % of the data "
            f"sheet's 989, {100 * share:.1f} % of the measured product"
        )
    if "lora" in args.parts:
        found = lora(args.rounds)
        ratio = ratios(found["ours"], found["peft"]).median
        for side, figures in found.items():
            print(f"LoRA {side:5s} tokens/s {spread(figures)}")
        print(f"LoRA ratio {ratios(found['ours'], found['peft'])}")
        ours, rival = (statistics.median(found[side]) for side in ("ours", "peft"))
        notes.append(f"LoRA {ours:.0f} against {rival:.0f} tokens/s, ratio {ratio:.2f}")
    return Result(
        "cuda_train", 100 * mfu, None, ratio, "% MFU (ratio: LoRA)", args.steps, "MFU >= 45 %", mfu >= 0.45, notes
    )


# ------------------------------------------------------------------------------------------------- pretraining


def pretrain(args: argparse.Namespace) -> tuple[float, float, str]:
    """(FLOP/s, tokens/s, first and last loss)."""
    import numpy as np
    import torch

    from idiolect import train
    from idiolect.core.rng import Streams
    from idiolect.data.windows import WindowSource
    from idiolect.models.gpt2 import GPT2
    from idiolect.train.objectives.lm import LM

    torch.set_float32_matmul_precision("high")
    model = GPT2(GPT)
    model.initialise(0.02, Streams(0).torch("init"))
    model.to("cuda")
    count = sum(p.numel() for p in model.parameters()) - model.positions.weight.numel()
    words = np.random.default_rng(0).integers(0, 50000, 1 << 22).astype(np.int32)
    length = GPT["n_positions"]
    assert isinstance(length, int)
    source = WindowSource(words, block=length, windows=args.windows * args.micros, micro_tokens=args.windows * length)
    stamps: list[float] = []
    losses: list[float] = []

    def watch(record: Any) -> None:
        torch.cuda.synchronize()
        stamps.append(time.perf_counter())
        losses.append(record.figures["loss"])

    warm = 3
    config = train.TrainConfig(
        steps=warm + args.steps,
        precision="mixed",
        optimiser=train.OptimiserConfig(lr=6e-4, decay=0.1, betas=(0.9, 0.95)),
        schedule=train.ScheduleConfig("constant"),
        compile=not args.eager,
        device="cuda",
    )
    begin = time.perf_counter()
    train.Trainer(model, LM(), source, config, watch=watch).fit()
    gaps = [b - a for a, b in itertools.pairwise(stamps[warm - 1 :])]
    tokens = args.micros * args.windows * length / statistics.median(gaps)
    each = 6 * count + 12 * 12 * 768 * length
    peak = torch.cuda.max_memory_allocated() / 1e9
    print(
        f"{count / 1e6:.1f} M parameters, {args.micros} x {args.windows} x {length} tokens a step, step "
        f"{1e3 * min(gaps):.1f}/{1e3 * statistics.median(gaps):.1f}/{1e3 * max(gaps):.1f} ms, first step after "
        f"{stamps[0] - begin:.0f} s, peak {peak:.1f} GB"
    )
    return each * tokens, tokens, f"{losses[0]:.3f} to {losses[-1]:.3f}"


# -------------------------------------------------------------------------------------------------------- LoRA


def lora(rounds: int) -> dict[str, list[float]]:
    import numpy as np

    draw = np.random.default_rng(1)
    steps = [
        [draw.integers(5, 49000, n).tolist() for n in draw.integers(40, 513, 32)] for _ in range(5 * (rounds + 2) + 1)
    ]
    sides = {"ours": ours(steps), "peft": peft(steps)}
    first = {name: side(1) for name, side in sides.items()}
    print("LoRA loss of the first step: " + ", ".join(f"{name} {loss:.4f}" for name, (_, loss) in first.items()))
    for side in sides.values():  # every length is new to the allocator once
        side(10)
    return interleave({name: lambda side=side: side(5)[0] for name, side in sides.items()}, rounds)


def ours(steps: list[list[list[int]]]) -> Any:
    import torch

    from idiolect import train, tune
    from idiolect.core.rng import Streams
    from idiolect.data.batch import TrainBatch
    from idiolect.models.llama import Llama
    from idiolect.nn import Batch
    from idiolect.train.objectives.lm import LM

    model = Llama(SMOL)
    model.initialise(0.02, Streams(0).torch("init"))
    model.to("cuda", torch.bfloat16)
    tune.attach(
        model, tune.TuneConfig(method="lora", rank=8, alpha=16, targets=("q_proj", "k_proj", "v_proj", "o_proj"))
    )

    class Rows:
        steps_per_epoch = len(steps)

        def step(self, step: int) -> list[TrainBatch]:
            rows = steps[step]
            targets = torch.cat([torch.tensor([*row[1:], 0]) for row in rows])
            weights = torch.cat([torch.tensor([1.0] * (len(row) - 1) + [0.0]) for row in rows])
            return [TrainBatch(Batch.pack(rows), targets, weights)]

    config = train.TrainConfig(
        steps=len(steps),
        precision="bf16",
        optimiser=train.OptimiserConfig(lr=2e-4, betas=(0.9, 0.999)),
        schedule=train.ScheduleConfig("constant"),
        device="cuda",
    )
    trainer = train.Trainer(model.train(), LM(), Rows(), config)

    def some(count: int) -> tuple[float, float]:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        records = [trainer.step().figures for _ in range(count)]
        torch.cuda.synchronize()
        return sum(r["tokens"] for r in records) / (time.perf_counter() - begin), records[-1]["loss"]

    return some


def peft(steps: list[list[list[int]]]) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from idiolect.core.rng import Streams
    from idiolect.models.llama import Llama
    from idiolect.models.write import tensors

    source = Llama(SMOL)
    source.initialise(0.02, Streams(0).torch("init"))
    base = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in SMOL.items() if k != "model_type"}))
    base.load_state_dict(tensors(source), strict=False)
    base.to("cuda", torch.bfloat16)
    options = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    model = get_peft_model(base, options, autocast_adapter_dtype=False)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=2e-4, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    order = iter(steps)

    def step() -> tuple[int, float]:
        rows = next(order)
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        labels = torch.full_like(ids, -100)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = labels[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        out = model(input_ids=ids.cuda(), attention_mask=mask.cuda(), labels=labels.cuda())
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return sum(map(len, rows)), float(out.loss.detach())

    def some(count: int) -> tuple[float, float]:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        found = [step() for _ in range(count)]
        torch.cuda.synchronize()
        return sum(tokens for tokens, _ in found) / (time.perf_counter() - begin), found[-1][1]

    return some
