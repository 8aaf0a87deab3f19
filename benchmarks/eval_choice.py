"""Multiple choice beside lm-evaluation-harness with transformers: the same items, the same weights, the same CPU.

Items come from local copies of ARC, MMLU and CommonsenseQA through our packaged tasks, so both sides get the same
contexts and continuations, character for character. Ours is the run that `idiolect eval` makes (tasks, engine, store);
the rival is the harness's HFLM on transformers in float32, whose `loglikelihood` is what its own tasks call, with the
batch size that was fastest for it on a few items of each task. Loading is left out on both sides. Compared are the
choices item by item (the likeliest option), and every difference is printed with both margins (natural log, second best
to best).
`--form cloze` scores the answers' texts where the default scores letters.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path

SUMMARY = (
    "Multiple choice: seconds for 500 items each of ARC, MMLU and CommonsenseQA beside lm-eval, and equal choices."
)
TASKS = {"standard": ("arc", "mmlu", "commonsenseqa"), "cloze": ("arc", "mmlu_cloze", "commonsenseqa_cloze")}
BATCHES = (1, 8, 16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=int, default=500, help="of each task")
    parser.add_argument("--form", choices=sorted(TASKS), default="standard")
    parser.add_argument("--shots", type=int, default=None, help="solved examples of MMLU (default: its five)")
    parser.add_argument(
        "--batch", type=int, default=None, help="the rival's batch size (default: its fastest for each task)"
    )
    parser.add_argument("--probe", type=int, default=12, help="items of each task on which batch sizes are tried")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--threads", type=int, default=2)


def rival(model: Any, folder: Path, batch: int) -> Any:
    """The harness's model over the same weights."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from idiolect import models

    if not (folder / "config.json").exists():
        models.save(model, folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return HFLM(pretrained=theirs, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=batch, device="cpu")


def ask(lm: Any, items: Sequence[Any]) -> tuple[list[list[float]], float]:
    """The harness's log-likelihood of every option, and the seconds."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance("loglikelihood", {}, (item.request.context, option), i, ("t", i, 1))
        for i, item in enumerate(items)
        for option in item.request.options
    ]
    begin = time.perf_counter()
    found = iter(lm.loglikelihood(requests, disable_tqdm=True))
    seconds = time.perf_counter() - begin
    return [[float(next(found)[0]) for _ in item.request.options] for item in items], seconds


def fastest(lm: Any, name: str, items: Sequence[Any]) -> int:
    took = {}
    for batch in BATCHES:
        lm.batch_size_per_gpu = batch
        took[batch] = ask(lm, items)[1]
    print(f"{name}, lm-eval's batch size:", ", ".join(f"{b}: {s:.1f} s" for b, s in took.items()), flush=True)
    return min(took, key=took.__getitem__)


def margin(values: Sequence[float]) -> float:
    first, second = sorted(values, reverse=True)[:2]
    return first - second


def best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models
    from idiolect.core.store import Store
    from idiolect.evals import tasks
    from idiolect.evals.runs import arun, summarise
    from idiolect.evals.systems import LocalConfig, LocalSystem

    torch.set_num_threads(args.threads)
    base = data_path(args.data, "bench")
    system = LocalSystem(LocalConfig(args.model), progress=False)
    scorer = system.scorer  # loads the model
    with tempfile.TemporaryDirectory() as scratch:
        plain = models.load(args.model, dtype="float32", packed=False, progress=False)
        lm = rival(plain, Path(scratch) / "hf", 1)
        del plain
        chosen = [
            tasks.load(
                name, base, [f"examples.count={args.shots}"] if name == "mmlu" and args.shots is not None else []
            )
            for name in TASKS[args.form]
        ]
        everything = [list(task.items(args.items)) for task in chosen]
        batches = [
            args.batch or fastest(lm, task.name, items[: args.probe])
            for task, items in zip(chosen, everything, strict=True)
        ]
        ours_total = theirs_total = 0.0
        same = total = 0
        widest = 0.0
        differences: list[str] = []
        notes = [f"{args.threads} threads, float32"]
        print(f"{'task':20} {'items':>6} {'ours s':>8} {'lm-eval s':>10} {'times':>6} {'same':>10} {'largest gap':>12}")
        for task, items, batch in zip(chosen, everything, batches, strict=True):
            with Store.open(Path(scratch) / f"{task.name}.sqlite") as store:
                before = scorer.computed
                begin = time.perf_counter()
                result = asyncio.run(arun(system, task, store, limit=args.items))
                ours = time.perf_counter() - begin
            lm.batch_size_per_gpu = batch
            theirs_values, theirs = ask(lm, items)
            rows = {row.item.id: row for row in result.rows}
            agree, gap = 0, 0.0
            for item, values in zip(items, theirs_values, strict=True):
                mine = list(rows[item.id].reply.logprobs)  # type: ignore[union-attr]
                gap = max(gap, *(abs(a - b) for a, b in zip(mine, values, strict=True)))
                if best(mine) == best(values):
                    agree += 1
                else:
                    differences.append(
                        f"  {task.name} {item.id}: ours {best(mine)} by {margin(mine):.2e}, "
                        f"lm-eval {best(values)} by {margin(values):.2e}"
                    )
            print(
                f"{task.name:20} {len(items):6d} {ours:8.1f} {theirs:10.1f} {theirs / ours:6.2f} "
                f"{agree:5d}/{len(items):<4d} {gap:12.1e}",
                flush=True,
            )
            figure = summarise(result).headline
            print(f"  accuracy {figure}, {scorer.computed - before:,} tokens computed", flush=True)
            faster = f"{theirs / ours:.2f} times as fast as lm-eval in batches of {batch}"
            notes.append(f"{task.name}: {faster}, {agree}/{len(items)} equal choices")
            ours_total, theirs_total = ours_total + ours, theirs_total + theirs
            same, total, widest = same + agree, total + len(items), max(widest, gap)
    print("items with another choice:", *(differences or ["  none"]), sep="\n")
    system.close()
    share = same / total
    notes += [
        f"equal choices {same}/{total} ({100 * share:.2f} %), largest difference of a log-likelihood {widest:.1e}"
    ]
    ratio = theirs_total / ours_total
    return Result(
        bench="eval_choice",
        ours=ours_total,
        rival=theirs_total,
        ratio=ratio,
        unit="seconds (lower is better; ratio = rival / ours)",
        n=total,
        goal="at least 3 times as fast, equal choices on at least 99.5 %",
        met=ratio >= 3.0 and share >= 0.995,
        notes=notes,
    )
