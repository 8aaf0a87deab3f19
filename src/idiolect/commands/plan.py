"""`idiolect plan`: what a model costs before anything is run, with the arithmetic shown."""

from __future__ import annotations

import json as json_text
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json
from idiolect.core.errors import BadInput, CorruptFile
from idiolect.core.names import did_you_mean
from idiolect.core.plan import MACHINES, Machine, Section, machine, shape_of
from idiolect.core.plan import plan as plans
from idiolect.core.plan.lines import said
from idiolect.core.plan.parameters import TARGETS, Adapter

SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([kmbt])", re.IGNORECASE)
UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def plan(
    model: str,
    /,
    *,
    train: Flag = False,
    tune: Literal["full", "lora", "qlora"] | None = None,
    serve: Flag = False,
    rank: int = 8,
    targets: tuple[str, ...] = TARGETS[:4],
    precision: Literal["fp32", "bf16", "mixed"] = "bf16",
    optimiser: Literal["adamw", "muon", "sgd"] = "adamw",
    checkpointing: Flag = False,
    micro: int = 4096,
    accumulate: int = 1,
    length: int = 1024,
    tokens: str | None = None,
    weights: str | None = None,
    context: int | None = None,
    batch: int = 1,
    prompt: int = 512,
    answer: int = 256,
    machine: str | None = None,
    flops: float | None = None,
    bandwidth: float | None = None,
    mfu: float | None = None,
    mbu: float | None = None,
    json: Json = False,
) -> None:
    """Say what a model costs in parameters, bytes, FLOPs and seconds, from its configuration alone.

    Parameters
    ----------
    model
        A folder, a config.json, a .gguf file, hf:ORG/NAME, pypi:PACKAGE==VERSION, or a bare size such as 7b.
    train
        Plan pretraining (all parameters).
    tune
        Plan tuning by this method.
    serve
        Plan serving (without --train or --tune this is planned anyway).
    rank
        Of LoRA.
    targets
        The matrices that LoRA adapts.
    precision
        Of training.
    optimiser
        adamw, muon or sgd with momentum.
    checkpointing
        Layers are computed again in the backward pass.
    micro
        Tokens of a micro-batch.
    accumulate
        Micro-batches of a step.
    length
        Tokens of a training sequence.
    tokens
        Of the whole run, such as 300b (default: 20 a parameter).
    weights
        Their format when served (fp32, bf16, int8, nf4, q8_0, q4_0, q4_1; default bf16), or under qlora (nf4).
    context
        Tokens that each served sequence may have (default: 2048, or the model's if less).
    batch
        Sequences served at the same time.
    prompt
        Tokens read before the first answer token.
    answer
        Tokens written.
    machine
        A machine by name, or "here" to measure this one.
    flops
        Peak FLOP a second, instead of the machine's.
    bandwidth
        Peak bytes a second, instead of the machine's.
    mfu
        Share of the FLOPs that is reached.
    mbu
        Share of the bandwidth that is reached.
    """
    on = choose(machine, flops, bandwidth, mfu, mbu)
    run = None if tokens is None else amount(tokens, "tokens")
    for key, value in (
        ("rank", rank),
        ("micro", micro),
        ("accumulate", accumulate),
        ("length", length),
        ("batch", batch),
        ("prompt", prompt),
    ):
        if value < 1:
            raise BadInput(f"{key} is {value}", hint="give 1 or more", param=key)
    if answer < 0:
        raise BadInput(f"answer is {answer}", hint="give 0 or more", param="answer")
    bare = SIZE.fullmatch(model)
    if context is not None and context < 1:
        raise BadInput(f"context is {context}", hint="give 1 or more", param="context")
    if bare and not Path(model).exists():
        for key, given in (("tune", tune), ("serve", serve), ("context", context), ("weights", weights)):
            if given:
                hint = "give its folder, config.json, .gguf file or hf:ORG/NAME"
                raise BadInput(f"--{key} needs the shape of a model, and {model} is a size alone", hint=hint)
        sections = plans.counted(amount(model, "size"), run, on)
        name = model
    else:
        shape = shape_of(config_of(model))
        name = f"{model}: {shape.kind}, {shape.layers} layers of width {shape.dim}"
        sections = plans.model(shape)
        method = tune or ("full" if train else None)
        if method is not None:
            how = plans.Training(
                method=method,
                precision=precision,
                optimiser=optimiser,
                micro=micro,
                micros=accumulate,
                length=min(length, micro),
                tokens=run,
                checkpointing=checkpointing,
                adapter=Adapter(rank, targets),
                weights=weights or "nf4",
            )
            sections += plans.training(shape, how, on)
        if serve or method is None:
            most = min(2048, shape.context) if context is None else context
            sections += plans.serving(shape, plans.Serving(weights or "bf16", most, batch, prompt, answer), on)
    if json:
        show.emit({"model": name, **{s.title: s.to_dict() for s in sections}})
    else:
        print(name)
        write(sections)


def write(sections: Sequence[Section]) -> None:
    """A table: what, how, how much."""
    for section in sections:
        print(f"\n{section.title}")
        every = [*section.lines, *([section.total] if section.total else [])]
        show.table([(f"  {x.name}", said(x.value, x.unit), f"= {x.how}" if x.how else "") for x in every])


def amount(text: str, what: str) -> float:
    """A number with k, m, b or t: 7b, 300B, 1.5t; or plain digits."""
    found = SIZE.fullmatch(text)
    try:
        value = float(found[1]) * UNITS[found[2].lower()] if found else float(text)
    except ValueError:
        raise BadInput(f"{what} {text!r} is no number", hint="write 7b, 300b or 1.5t", param=what) from None
    if not 0 < value < math.inf:
        raise BadInput(f"{what} is {text}", hint="write 7b, 300b or 1.5t", param=what)
    return value


def choose(
    name: str | None, flops: float | None, bandwidth: float | None, mfu: float | None, mbu: float | None
) -> Machine | None:
    """The machine to plan for; None when nothing was said of one."""
    if name is None and flops is None and bandwidth is None:
        return None
    if name is None:
        if flops is None or bandwidth is None:
            raise BadInput("a machine has FLOPs and bandwidth", hint="give --flops and --bandwidth, or --machine")
        found = Machine("a machine", flops, bandwidth)
    elif name == "here":
        found = machine.here()
    elif name in MACHINES:
        found = MACHINES[name]
    else:
        raise BadInput(f"machine {name!r} is not known", hint=did_you_mean(name, [*MACHINES, "here"]), param="machine")
    for key, value in (("mfu", mfu), ("mbu", mbu)):
        if value is not None and not 0 < value <= 1:
            raise BadInput(f"{key} is {value}", hint="it is a share, above 0 and at most 1", param=key)
    return Machine(found.name, flops or found.flops, bandwidth or found.bandwidth, mfu or found.mfu, mbu or found.mbu)


def config_of(model: str) -> Mapping[str, Any]:
    """The configuration of a model: from a config.json without any more, from any other source through its opener."""
    path = Path(model).expanduser()
    file = path / "config.json" if path.is_dir() else path
    if file.suffix == ".json" and file.is_file():
        try:
            found = json_text.loads(file.read_text("utf-8"))
        except ValueError as error:
            raise CorruptFile(f"{file} is no JSON: {error}", hint="give a model's config.json") from None
        if not isinstance(found, dict):
            raise CorruptFile(f"{file} holds no JSON object", hint="give a model's config.json")
        return found
    from idiolect.models.read import open_source

    return open_source(model).config
