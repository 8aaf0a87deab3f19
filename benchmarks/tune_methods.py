"""Does tuning show in behaviour? Six ways of adapting the embedded model, on the same examples, in one table.

Each way sees the same instruction examples in the same order for the same number of steps. The loss of the answers (the
prompts are not counted) is measured on held-out examples before and after; the interval is that of the mean
difference over those examples, which are the same on both sides (paired, 95 %). Each way runs in a process of its own,
so that its peak memory is its own; a shorter interval needs more --held examples, a larger fall more --steps.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path

SUMMARY = "Held-out completion loss before and after full, LoRA, QLoRA, IA3, prefix and prompt tuning."
WAYS: dict[str, tuple[dict[str, Any], str | None]] = {  # -> TuneConfig's fields, and how the base is held
    "full": ({"method": "full"}, None),
    "lora": ({"method": "lora", "rank": 8, "alpha": 16.0}, None),
    "qlora": ({"method": "lora", "rank": 8, "alpha": 16.0}, "nf4"),
    "ia3": ({"method": "ia3"}, None),
    "prefix": ({"method": "prefix", "options": {"tokens": 20}}, None),
    "prompt": ({"method": "prompt", "options": {"tokens": 20}}, None),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--examples", type=int, default=8, help="examples a step")
    parser.add_argument("--held", type=int, default=100, help="held-out examples")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", default=",".join(WAYS), help="which (default %(default)s)")


def run(args: argparse.Namespace) -> Result:
    data = data_path(args.data, "sft/rasbt_instruction_data.json")
    found = []
    print(f"{'way':8} {'trained':>12} {'before':>8} {'after':>8} {'difference (95 %)':>26} {'s':>6} {'peak MB':>8}")
    for way in args.ways.split(","):
        numbers = [str(n) for n in (args.steps, args.examples, args.held, args.threads)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.tune_methods", way, str(data), *numbers],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        row = json.loads(done.stdout.splitlines()[-1])
        found.append(row)
        fall = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        print(
            f"{way:8} {row['trained']:12,} {row['before']:8.4f} {row['after']:8.4f} {fall:>26} "
            f"{row['seconds']:6.0f} {row['peak'] / 1e6:8.0f}",
            flush=True,
        )
    worst = max(found, key=lambda row: row["high"])
    return Result(
        "tune_methods",
        ours=worst["high"],
        rival=None,
        ratio=None,
        unit="upper end of the paired 95 % interval of the change in held-out loss, the least of all ways",
        n=args.held,
        goal="below 0 for every way",
        met=worst["high"] < 0,
        notes=[f"{args.steps} steps of {args.examples} examples"],
    )


def one(way: str, data: Path, steps: int, examples: int, held: int, threads: int) -> dict[str, Any]:
    """Train one way; what came of it."""
    import numpy as np
    import torch

    from idiolect import models, train, tune, weights
    from idiolect.core.config import from_dict
    from idiolect.data import Batching, Codec, Dataset, PackedSource, split, tokenise
    from idiolect.data.order import Shuffled
    from idiolect.train.objectives.lm import LM

    torch.set_num_threads(threads)
    method, quantised = WAYS[way]
    model = models.load(models.EMBEDDED_LM, dtype="float32", packed=False, progress=False)
    if quantised:
        weights.quantise_model(model, quantised)
    tokens = tokenise(Dataset(str(data)), Codec.of(model, context=512))
    learn, rest = split(tokens, 0.2, seed=0)
    batches = PackedSource(learn, Shuffled(len(learn), 0), Batching(examples=examples, micro_tokens=1024), 0)
    kept = PackedSource(rest, None, Batching(examples=8, micro_tokens=2048), 0)
    mounted = tune.attach(model, from_dict(tune.TuneConfig, method))
    before = losses(model, kept, held)
    config = train.TrainConfig(
        steps=steps,
        optimiser=train.OptimiserConfig(lr=mounted.config.kind.lr, betas=(0.9, 0.999)),
        schedule=train.ScheduleConfig(name="linear", warmup=0.1),
    )
    begin = time.perf_counter()
    train.fit(model, LM(), batches, config)
    seconds = time.perf_counter() - begin
    change = losses(model, kept, held) - before
    half = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
    return {
        "trained": mounted.count,
        "before": float(before.mean()),
        "after": float(before.mean() + change.mean()),
        "difference": float(change.mean()),
        "low": float(change.mean() - half),
        "high": float(change.mean() + half),
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def losses(model: Any, source: Any, held: int) -> Any:
    """Mean loss per answer token of the first `held` examples, one number each."""
    import numpy as np
    import torch

    from idiolect.train.cross_entropy import cross_entropy

    found: list[float] = []
    model.eval()
    with torch.no_grad():
        for step in range(source.steps_per_epoch):
            for micro in source.step(step):
                _, scores = cross_entropy(
                    model.hidden(micro.batch), micro.targets, micro.weights, model.logits, rows=256
                )
                for begin, end in zip(micro.batch.bounds, micro.batch.bounds[1:]):
                    counted = micro.weights[begin:end]
                    found.append(float((scores.nll[begin:end] * counted).sum() / counted.sum()))
            if len(found) >= held:
                break
    return np.array(found[:held])


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))))
