"""LoRA finetuning of the embedded language model beside TRL with peft: tokens per second and peak memory, equal loss.

Rank 8 on q, k, v and o; steps of 8 short instruction examples of different lengths; the same examples in the same
order, the same first adapter, AdamW, clipping and learning rate. Each side runs in a process of its own, in turn; the
first step warms up and is not timed. A token is one of an example, never padding. Beside wall time stand tokens per
second of processor time (all threads, all steps), which other programs on the machine disturb less; with --threads 1
nothing spins. TRL runs without gradient checkpointing, its faster setting (its default, with it, is slower and
smaller). The chat template begins every example with the same words, which ours computes once per micro-batch (`rows`
says how many rows a token costs); --separate computes every example whole.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path

SUMMARY = "LoRA SFT tokens per second and peak memory beside TRL + peft, at equal loss."
SIDES = ("ours", "trl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=4, help="timed steps a side and round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--file", default="sft/alpaca_en_demo.json", help="instructions, below --data (%(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro", type=int, default=512, help="tokens in a micro-batch of ours (default %(default)s)")
    parser.add_argument("--separate", action="store_true", help="share nothing between examples")
    parser.add_argument("--dtypes", default="fp32", help="fp32,bf16 (bf16 is slow where a CPU has no units for it)")


def run(args: argparse.Namespace) -> Result:
    source = data_path(args.data, args.file)
    notes: list[str] = []
    shown: tuple[float, float, float, float] | None = None
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), source, (args.steps + 1) * 8)
        for dtype in args.dtypes.split(","):
            found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(args.rounds):
                for side in SIDES:
                    found[side].append(worker(side, folder, dtype, args))
            speed = {side: statistics.median(f["speed"] for f in found[side]) for side in SIDES}
            memory = {side: statistics.median(f["memory"] for f in found[side]) for side in SIDES}
            ratios = [a["speed"] / b["speed"] for a, b in zip(found["ours"], found["trl"], strict=True)]
            losses = {side: found[side][0]["losses"] for side in SIDES}
            apart = max(abs(a - b) / b for a, b in zip(losses["ours"], losses["trl"], strict=True))
            ratio, less = statistics.median(ratios), memory["ours"] / memory["trl"]
            work = {side: statistics.median(f["work"] for f in found[side]) for side in SIDES}
            print(
                f"{dtype} per processor second: {work['ours']:.1f} and {work['trl']:.1f} tokens, ratio "
                f"{work['ours'] / work['trl']:.2f}"
            )
            for side in SIDES:
                shown_losses = " ".join(f"{x:.4f}" for x in losses[side])
                print(
                    f"{dtype} {side:5s} {speed[side]:7.1f} tokens/s  {memory[side] / 1e9:.2f} GB  loss {shown_losses}"
                )
            print(f"{dtype} ratio {ratio:.2f}, memory {less:.2f}, losses apart by at most {apart:.1e}")
            notes.append(
                f"{dtype}: {speed['ours']:.0f} against {speed['trl']:.0f} tokens/s ({min(ratios):.2f} to "
                f"{max(ratios):.2f}), {memory['ours'] / 1e9:.2f} against {memory['trl'] / 1e9:.2f} GB ({less:.2f}), "
                f"losses within {apart:.1e}"
            )
            rows = found["ours"][0]["rows"]
            print(f"{dtype} rows of ours a token: {rows:.2f}")
            notes[-1] += f", {rows:.2f} rows a token"
            if shown is None or ratio < shown[2]:
                shown = (speed["ours"], speed["trl"], ratio, less)
    assert shown is not None
    ours, rival, ratio, less = shown
    goal = "ratio >= 2.5 and memory <= 0.55"
    met = ratio >= 2.5 and less <= 0.55
    return Result("train_speed", ours, rival, ratio, "tokens/s, LoRA SFT", args.rounds, goal, met, notes)


def prepare(folder: Path, source: Path, count: int) -> None:
    """The base as a Hugging Face directory, one adapter that both sides begin with, and the examples as ids."""
    from idiolect import data, models, tune

    model = models.load(models.EMBEDDED_LM, dtype="float32", packed=False, progress=False)
    models.save(model, folder / "base")
    config = data.DataConfig(train=(str(source),), limit=2 * count, context=512, cache=False)
    items = data.prepare(model, config).items
    rows = []
    for index in range(count):
        ((ids, counted),) = items.segments(index)
        labels = [int(i) if c else -100 for i, c in zip(ids, counted, strict=True)]
        rows.append({"input_ids": [int(i) for i in ids], "labels": labels})
    (folder / "rows.json").write_text(json.dumps(rows))
    tune.attach(model, tune.TuneConfig(method="lora", rank=8, alpha=16)).save(folder / "adapter")


def worker(side: str, folder: str, dtype: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one side in a fresh process; its last line of output is its figures."""
    options = [side, folder, dtype, str(args.steps), str(args.threads), str(args.micro), str(int(args.separate))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_speed", *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def ours(folder: Path, dtype: str, steps: int, micro: int, separate: bool) -> dict[str, Any]:
    from idiolect import models, train, tune
    from idiolect.data.batch import TrainBatch
    from idiolect.data.shared import share
    from idiolect.train.objectives.lm import LM, LMConfig

    kind = "float32" if dtype == "fp32" else "bfloat16"
    model = models.load(folder / "base", dtype=kind, packed=False, progress=False)
    tune.load(model, folder / "adapter")
    rows = json.loads((folder / "rows.json").read_text())

    class Rows:
        steps_per_epoch = len(rows) // 8

        def step(self, step: int) -> list[TrainBatch]:
            from idiolect.data.packing import best_fit

            own = rows[8 * step : 8 * step + 8]
            bins = best_fit([len(r["input_ids"]) for r in own], micro)
            return [pack([own[i] for i in places]) for places in bins]

    config = train.TrainConfig(
        steps=steps + 1,
        precision="fp32" if dtype == "fp32" else "bf16",
        optimiser=train.OptimiserConfig(lr=2e-4, betas=(0.9, 0.999)),
        schedule=train.ScheduleConfig("constant"),
        log_every=1,
    )
    figures: list[dict[str, float]] = []

    def watch(record: train.Record) -> None:
        figures.append(record.figures)

    begin = time.process_time()
    train.fit(model, LM(LMConfig(share=not separate)), Rows(), config, watch=watch)
    work = sum(f["tokens"] for f in figures) / (time.process_time() - begin)
    timed = figures[1:] or figures
    speed = sum(f["tokens"] for f in timed) / sum(f["seconds"] for f in timed)
    batches = [batch for step in range(steps + 1) for batch in Rows().step(step)]
    computed = sum(len(batch.batch if separate else share(batch).batch) for batch in batches)
    return {
        "speed": speed,
        "work": work,
        "losses": [f["loss"] for f in figures],
        "memory": peak(),
        "rows": computed / sum(len(batch.batch) for batch in batches),
    }


def pack(rows: list[dict[str, list[int]]]) -> Any:
    import torch

    from idiolect.data.batch import TrainBatch
    from idiolect.nn import Batch

    targets = torch.cat([torch.tensor([*r["input_ids"][1:], 0]) for r in rows])
    weights = torch.cat([torch.tensor([float(x != -100) for x in r["labels"][1:]] + [0.0]) for r in rows])
    return TrainBatch(Batch.pack([r["input_ids"] for r in rows]), targets, weights)


def trl(folder: Path, dtype: str, steps: int, micro: int, separate: bool) -> dict[str, Any]:
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    kind = torch.float32 if dtype == "fp32" else torch.bfloat16
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=kind)
    model = PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True, autocast_adapter_dtype=False)
    rows = json.loads((folder / "rows.json").read_text())
    times: list[float] = []
    work: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())
            work.append(time.process_time())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())
            work.append(time.process_time())

    config = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=steps + 1,
        per_device_train_batch_size=8,
        learning_rate=2e-4,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        adam_beta2=0.999,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        max_length=None,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        callbacks=[Clock()],
    )
    trainer.train()
    losses = [float(row["loss"]) for row in trainer.state.log_history if "loss" in row]
    first = 8 if steps else 0
    tokens = sum(len(r["input_ids"]) for r in rows[first : 8 * (steps + 1)])
    every = sum(len(r["input_ids"]) for r in rows[: 8 * (steps + 1)])
    seconds = sum(end - begin for begin, end in zip(times[first // 4 :: 2], times[first // 4 + 1 :: 2], strict=True))
    return {
        "speed": tokens / seconds,
        "work": every / sum(end - begin for begin, end in zip(work[::2], work[1::2], strict=True)),
        "losses": losses,
        "memory": peak(),
    }


if __name__ == "__main__":
    import torch

    side, folder, dtype, steps, threads, micro, separate = sys.argv[1:]
    torch.set_num_threads(int(threads))
    print(json.dumps({"ours": ours, "trl": trl}[side](Path(folder), dtype, int(steps), int(micro), separate == "1")))
