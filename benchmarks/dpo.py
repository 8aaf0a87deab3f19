"""DPO beside TRL: the same pairs, the same weights, the same tokens; losses, gradients and seconds.

The policy is the embedded SmolLM2 with one matrix changed, so that it differs from its reference. TRL's own collator,
trainer and loss run on a transformers model of the same float32 weights, its reference log-probabilities given to it
as ours are (`precompute_ref_log_probs`), so that neither side runs the reference while it is timed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path, ratios, spread

SUMMARY = "DPO: loss and gradients equal to TRL's on the same pairs, and seconds per step beside it."
FILE = "pref/rasbt_instruction_preference.json"
BETA = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import numpy as np
    import torch

    from idiolect import models
    from idiolect.align import DPO, DPOConfig, remember
    from idiolect.data import Codec, Dataset, tokenise
    from idiolect.data.source import collate

    torch.set_num_threads(args.threads)
    model = models.load(models.EMBEDDED_LM, dtype="float32", packed=False, progress=False)
    data = Dataset(data_path(args.data, FILE), limit=args.pairs)
    tokens = tokenise(data, Codec.of(model, context=512), on_error="skip", cache=False)
    remember(model, tokens, cache=False)
    assert tokens.references is not None
    with tempfile.TemporaryDirectory() as folder:
        models.save(model, Path(folder) / "m")
        trainer, rival = trl_side(Path(folder))
    change = torch.randn(model.config.dim, model.config.hidden, generator=torch.Generator().manual_seed(0)) * 0.02
    with torch.no_grad():
        model.layers[5].mlp.down.weight += change
        rival.model.layers[5].mlp.down_proj.weight += change
    model.requires_grad_(True).train()
    objective = DPO(DPOConfig(beta=BETA))
    losses: dict[str, list[float]] = {"ours": [], "trl": []}
    seconds: dict[str, list[float]] = {"ours": [], "trl": []}
    worst = 0.0
    for begin in range(0, len(tokens) - args.batch + 1, args.batch):
        chosen = np.arange(begin, begin + args.batch)
        start = time.perf_counter()
        loss = objective(model, collate(tokens, chosen))
        (loss.sum / loss.weight).backward()
        seconds["ours"].append(time.perf_counter() - start)
        losses["ours"].append(float(loss.sum.detach()) / loss.weight)
        inputs = trainer.data_collator([example(tokens, i) for i in chosen.tolist()])
        start = time.perf_counter()
        theirs = trainer.compute_loss(rival, inputs)
        theirs.backward()
        seconds["trl"].append(time.perf_counter() - start)
        losses["trl"].append(float(theirs.detach()))
        mine, other = model.layers[5].mlp.down.weight.grad, rival.model.layers[5].mlp.down_proj.weight.grad
        worst = max(worst, float((mine - other).norm() / other.norm()))
        print(f"pairs {begin}-{begin + args.batch - 1}: loss {losses['ours'][-1]:.6f}, TRL {losses['trl'][-1]:.6f}")
        model.zero_grad(set_to_none=True)
        rival.zero_grad(set_to_none=True)
    apart = max(abs(a - b) / b for a, b in zip(losses["ours"], losses["trl"], strict=True))
    speed = ratios(seconds["trl"], seconds["ours"])
    ours, rivals = spread(seconds["ours"]), spread(seconds["trl"])
    print(f"losses differ by at most {apart:.2e} relative, gradients by {worst:.2e}")
    print(f"seconds a step of {args.batch} pairs: ours {ours}, TRL {rivals}, ratio {speed}")
    return Result(
        "dpo",
        sum(losses["ours"]) / len(losses["ours"]),
        sum(losses["trl"]) / len(losses["trl"]),
        speed.median,
        "loss; the ratio is TRL's seconds over ours for a step, forward and backward, all weights trained",
        len(losses["ours"]) * args.batch,
        "losses within 1e-4 relative",
        apart < 1e-4,
        [f"losses within {apart:.1e}, gradients within {worst:.1e} relative", f"seconds ours {ours}, TRL {rivals}"],
    )


def example(tokens: Any, item: int) -> dict[str, Any]:
    """A pair as TRL's collator takes it: what stands behind the response's end is left out, it learns nothing."""
    (better, learned), (worse, also) = tokens.segments(item)
    at = int(learned.argmax())
    reference = tokens.reference(item)
    return {
        "prompt_ids": better[:at].tolist(),
        "chosen_ids": better[at : int(learned.nonzero()[0][-1]) + 1].tolist(),
        "rejected_ids": worse[at : int(also.nonzero()[0][-1]) + 1].tolist(),
        "ref_chosen_logps": float(reference[0]),
        "ref_rejected_logps": float(reference[1]),
    }


def trl_side(folder: Path) -> tuple[Any, Any]:
    """TRL's trainer, and the transformers model that it trains."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rival = AutoModelForCausalLM.from_pretrained(folder / "m", dtype="float32")
    args = trl.DPOConfig(
        str(folder / "out"), beta=BETA, use_cpu=True, report_to=[], bf16=False, gradient_checkpointing=False
    )
    trainer = trl.DPOTrainer(
        rival,
        args=args,
        train_dataset=datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=AutoTokenizer.from_pretrained(folder / "m"),
    )
    trainer.precompute_ref_logps, trainer.ref_model = True, None  # the examples carry them
    return trainer, rival
