"""Loss and gradients of one batch beside transformers, on the embedded language model in float32.

Three examples of different lengths: packed for us, padded with an attention mask for transformers; prompts masked. The
figure is the largest relative difference |d| / |g| over all parameters' gradients (norms), the loss's beside it.

transformers' loss ends in torch's float32 log-softmax, which adds up 49,152 exponentials in a way that loses about
5e-6 of the sum; small gradients near the head, which are differences of large ones, then move by up to 8e-4. So the
figure is taken against transformers' logits with the same cross-entropy in float64; the other is printed too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Result

SUMMARY = "Loss and gradients of the same batch beside transformers, float32."
ROWS = (  # token counts of prompt and whole example, cut from the licence's text
    (5, 40),
    (12, 23),
    (2, 61),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> Result:
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks.train_speed import pack
    from idiolect import models
    from idiolect.models.names import split
    from idiolect.train.objectives.lm import LM

    torch.set_num_threads(args.threads)
    model = models.load(models.EMBEDDED_LM, dtype="float32", packed=False, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        models.save(model, Path(folder) / "hf")
        rival: Any = AutoModelForCausalLM.from_pretrained(Path(folder) / "hf", dtype=torch.float32)
    text = model.tokenizer.encode((Path(__file__).parent.parent / "LICENSE").read_text("utf-8"))
    rows, at = [], 0
    for prompt, length in ROWS:
        ids = text[at : at + length]
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
        at += length
    longest = max(length for _, length in ROWS)
    ids = torch.tensor([r["input_ids"] + [0] * (longest - len(r["input_ids"])) for r in rows])
    mask = torch.tensor([[1] * n + [0] * (longest - n) for _, n in ROWS])
    labels = torch.tensor([r["labels"] + [-100] * (longest - len(r["labels"])) for r in rows])
    answer = rival(input_ids=ids, attention_mask=mask, labels=labels)
    exact = torch.nn.functional.cross_entropy(answer.logits[:, :-1].flatten(0, 1).double(), labels[:, 1:].flatten())
    exact.backward(retain_graph=True)
    grads = {name: p.grad.clone() for name, p in rival.named_parameters()}
    rival.zero_grad()
    answer.loss.backward()
    own = {name: p.grad for name, p in rival.named_parameters()}
    model.requires_grad_(True).train()
    loss = LM()(model, pack(rows))
    (loss.sum / loss.weight).backward()
    mine, other = loss.sum.item() / loss.weight, exact.item()
    worst, where, beside = 0.0, "", 0.0
    for rule in model.rules():
        owner, _, leaf = rule.name.rpartition(".")
        for name, value in split(getattr(model.get_submodule(owner), leaf).grad, rule).items():
            apart = float((value - grads[name]).norm() / grads[name].norm())
            beside = max(beside, float((value - own[name]).norm() / own[name].norm()))
            if apart > worst:
                worst, where = apart, name
    print(f"loss {mine:.6f} against {other:.6f} ({answer.loss.item():.6f} with torch's float32 cross-entropy)")
    print(f"largest relative difference of a gradient {worst:.1e} ({where}); {beside:.1e} with that cross-entropy")
    goal = "loss and every gradient within 1e-4"
    met = worst <= 1e-4 and abs(mine - other) / other <= 1e-4
    note = (
        f"loss {mine:.6f} against {other:.6f}; against torch's float32 cross-entropy gradients differ by {beside:.1e}"
    )
    return Result("train_parity", worst, None, None, "largest relative difference", len(grads), goal, met, [note])
