"""Adapters beside peft's, on the embedded model: the same outputs and the same gradients, and each opens the other's.

Both sides hold the same float32 weights (ours are written as a Hugging Face directory and opened by transformers).
Every learned value is moved at random first, so that all of them matter. The figures are relative differences
(Frobenius norm of the difference over that of peft's): of the logits of three texts, of the gradient of their summed
loss over every adapter tensor (the worst one), and of the logits that peft computes with what we saved.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Result

SUMMARY = "Relative difference of logits and gradients between our adapters and peft's."
TEXTS = ["The capital of France is", "Water boils at a hundred degrees, and", "def add(a, b):\n    return a"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", default="lora,rslora,dora,ia3,prefix,prompt", help="which (default %(default)s)")


def run(args: argparse.Namespace) -> Result:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    from idiolect import models, tune
    from idiolect.nn import Batch

    torch.set_num_threads(args.threads)
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    kinds: dict[str, Any] = {
        "lora": peft.LoraConfig(r=8, target_modules=every, task_type="CAUSAL_LM"),
        "rslora": peft.LoraConfig(r=8, use_rslora=True, target_modules=every[:4], task_type="CAUSAL_LM"),
        "dora": peft.LoraConfig(r=8, use_dora=True, target_modules=every[:4], task_type="CAUSAL_LM"),
        "ia3": peft.IA3Config(task_type="CAUSAL_LM"),
        "prefix": peft.PrefixTuningConfig(num_virtual_tokens=10, task_type="CAUSAL_LM"),
        "prompt": peft.PromptTuningConfig(num_virtual_tokens=10, task_type="CAUSAL_LM"),
    }
    base = models.load(models.EMBEDDED_LM, dtype="float32", packed=False, progress=False)
    parts = [base.tokenizer.encode(text) for text in TEXTS]
    worst = 0.0
    print(f"{'method':8} {'logits':>10} {'gradients':>10} {'saved':>10}")
    with tempfile.TemporaryDirectory() as folder:
        models.save(base, Path(folder) / "base")

        def theirs() -> Any:
            return AutoModelForCausalLM.from_pretrained(Path(folder) / "base", dtype=torch.float32).eval()

        def logits(model: Any) -> torch.Tensor:
            rows = [model(input_ids=torch.tensor([ids])).logits[0][-len(ids) :] for ids in parts]
            return torch.cat(rows)

        for name in args.methods.split(","):
            kind = kinds[name]
            torch.manual_seed(0)
            rival = peft.get_peft_model(theirs(), kind)
            learned = {n: p for n, p in rival.named_parameters() if p.requires_grad}
            with torch.no_grad():
                for p in learned.values():
                    p.add_(torch.randn_like(p) * 0.02)
            rival.eval().save_pretrained(Path(folder) / f"{name}-peft")
            mounted = tune.load(base, Path(folder) / f"{name}-peft")
            expected, found = logits(rival), base(Batch.pack(parts))
            figures = [difference(found, expected)]
            targets = torch.arange(len(found)) * 31 % 4096
            for out in (expected, found):
                torch.nn.functional.cross_entropy(out, targets, reduction="sum").backward()
            mounted.save(Path(folder) / f"{name}-ours")
            with torch.no_grad():
                for p in mounted.parameters():  # the views that name the values then name the gradients
                    p.data = p.grad  # type: ignore[assignment]
            gradients = {n.replace(".default", ""): p.grad for n, p in learned.items()}
            figures.append(
                max(difference(value, matching(gradients, key)) for key, value in mounted.state_dict().items())
            )
            mounted.detach()
            again = peft.PeftModel.from_pretrained(theirs(), Path(folder) / f"{name}-ours").eval()
            with torch.no_grad():
                figures.append(difference(logits(again), expected))
            worst = max(worst, *figures)
            print(f"{name:8} {figures[0]:10.2g} {figures[1]:10.2g} {figures[2]:10.2g}", flush=True)
    return Result(
        "peft_parity",
        ours=worst,
        rival=None,
        ratio=None,
        unit="largest relative difference of logits and gradients",
        n=len(args.methods.split(",")),
        goal="at most 1e-4",
        met=worst <= 1e-4,
    )


def difference(a: Any, b: Any) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


def matching(gradients: dict[str, Any], key: str) -> Any:
    """peft's gradient for one of our names."""
    short = "embedding" if key == "prompt_embeddings" else key.removesuffix(".weight")
    (found,) = [g for name, g in gradients.items() if short in name]
    return found
