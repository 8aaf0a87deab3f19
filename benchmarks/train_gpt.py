"""A character-level GPT from nothing on tiny Shakespeare, of nanoGPT's size for a CPU, beside a transformers loop.

4 layers, 4 heads, 128 wide, blocks of 64, 12 of them a step, no dropout, 2,000 steps, AdamW with warm-up and cosine:
the packaged recipe. The figure is the loss on the last tenth of the text. The rival is transformers' GPT-2 of the same
shape and first weights, trained by a plain loop on the same batches (Trainer would add accelerate's own time); the
two are timed in turn, and their losses on these batches are compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path, ratios, spread

SUMMARY = "Validation loss of a GPT trained from nothing on tiny Shakespeare, and seconds per step beside transformers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--timed", type=int, default=40, help="steps that are timed in turn with transformers")
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import train

    torch.set_num_threads(args.threads)
    text = data_path(args.data, "corpora/tinyshakespeare.txt")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, apart = timed(Path(folder), text, args.timed)
        changes = [f"data.train=[{text}]", f"out={folder}/run", f"train.steps={args.steps}"]
        begin = time.perf_counter()
        result = train.run(train.load("gpt-shakespeare", changes=changes))
        took = time.perf_counter() - begin
    best = result.outcome.progress.best
    assert best is not None
    own, rival, ratio = spread(ours), spread(theirs), ratios(theirs, ours)
    print(f"seconds per step: ours {own}, transformers {rival}, rival/ours {ratio}; losses within {apart:.1e}")
    print(f"validation loss {best:.4f} after step {result.outcome.progress.best_step}; the whole run took {took:.0f} s")
    return Result(
        "train_gpt",
        best,
        None,
        ratio.median,
        "validation loss (nats a character); ratio: seconds per step, rival/ours",
        args.timed,
        "validation loss <= 1.88",
        best <= 1.88,
        [
            f"{own.median * 1e3:.1f} ms a step against {rival.median * 1e3:.1f} ms of transformers",
            f"{args.steps} steps in {took:.0f} s, validation included",
            f"training losses of the two within {apart:.1e} over {args.timed} steps",
        ],
    )


def timed(folder: Path, text: Path, steps: int) -> tuple[list[float], list[float], float]:
    """Seconds of each step of ours and of transformers, in turn, and how far apart their losses are (relative)."""
    import torch
    from transformers import AutoModelForCausalLM

    from idiolect import data, models, train
    from idiolect.train.objectives.lm import LM
    from idiolect.train.running import open_model
    from idiolect.train.schedule import factor

    recipe = train.load("gpt-shakespeare", changes=[f"data.train=[{text}]"])
    model = open_model(recipe)
    models.save(model, folder / "blank")
    source = data.prepare(model, recipe.data).train
    trainer = train.Trainer(model, LM(), source, recipe.train)
    rival: Any = AutoModelForCausalLM.from_pretrained(folder / "blank", dtype=torch.float32).train()
    matrices = [p for n, p in rival.named_parameters() if p.ndim > 1 and "wte" not in n and "wpe" not in n]
    kept = {id(p) for p in matrices}
    rest = [p for p in rival.parameters() if id(p) not in kept]
    o = recipe.train.optimiser
    groups = [{"params": matrices, "weight_decay": o.decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, o.lr, o.betas, o.eps, fused=True)
    ours, theirs, apart = [], [], 0.0
    for step in range(steps):
        record = trainer.step()
        ours.append(record.figures["seconds"])
        begin = time.perf_counter()
        (batch,) = source.step(step)
        ids, targets = batch.batch.ids.view(-1, 64), batch.targets.view(-1, 64)
        logits = rival(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rival.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = o.lr * factor(recipe.train.schedule, step, trainer.total)
        optimiser.step()
        optimiser.zero_grad()
        other = float(loss.detach())
        theirs.append(time.perf_counter() - begin)
        apart = max(apart, abs(record.figures["loss"] - other) / other)
    return ours[2:], theirs[2:], apart
