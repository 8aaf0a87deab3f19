"""Whole plans: sections of arithmetic for serving, for training and tuning, or for a bare number of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from idiolect.core.errors import BadInput
from idiolect.core.plan import activations, flops, machine, memory, rules
from idiolect.core.plan.lines import Line, Section, summed
from idiolect.core.plan.machine import Machine
from idiolect.core.plan.parameters import Adapter, active, linear, lora, parameters, total
from idiolect.core.plan.shape import Shape


@dataclass(frozen=True, slots=True)
class Serving:
    """`batch` sequences of up to `context` tokens; `prompt` of them are read before the first answer token, `answer`
    are written. `cache` bytes a key or value; `step` tokens of prompts go through the model at once."""

    weights: str = "bf16"
    context: int = 2048
    batch: int = 1
    prompt: int = 512
    answer: int = 256
    cache: float = 2
    step: int = 512


@dataclass(frozen=True, slots=True)
class Training:
    """`method` full, lora or qlora; `micro` tokens of a micro-batch in sequences of `length`, `micros` of them a step;
    `tokens` of the whole run (None: Chinchilla's). The base of qlora is held in `weights`."""

    method: str = "full"
    precision: str = "bf16"
    optimiser: str = "adamw"
    micro: int = 4096
    micros: int = 1
    length: int = 1024
    tokens: float | None = None
    checkpointing: bool = False
    adapter: Adapter = field(default_factory=Adapter)
    weights: str = "nf4"

    def __post_init__(self) -> None:
        if self.method not in ("full", "lora", "qlora"):
            raise BadInput(f"there is no plan for method {self.method!r}", hint="full, lora and qlora have one")


def model(s: Shape) -> list[Section]:
    """What the model is, whatever is done with it."""
    n = total(s)
    lines = [Line("attention's share", "(key + query + value + output) / total", _attention(s) / n, "")]
    if s.experts:
        lines.append(Line("active", f"{s.active} of {s.experts} experts a token", active(s), "parameters"))
    lines.append(Line("Chinchilla", f"20 x {active(s)}", flops.chinchilla(active(s)), "tokens"))
    return [parameters(s), Section("in all", tuple(lines))]


def _attention(s: Shape) -> float:
    return s.layers * 2 * s.dim * (s.q_width + s.kv_width)


def serving(s: Shape, how: Serving, on: Machine | None = None) -> list[Section]:
    held = memory.weights(s, how.weights)
    kv = memory.cache(s, how.batch, how.context, how.cache)
    each = 4 if how.weights == "fp32" else 2
    rows = how.batch + how.step
    work_each = rows * (3 * s.hidden + 3 * s.dim) * each + how.batch * s.vocab * (each + 8) * s.head
    shown = f"{rows} x (3 x {s.hidden} + 3 x {s.dim}) x {each} + {how.batch} x {s.vocab} x {each + 8}"
    need = summed("memory of serving", [*held.lines, kv, Line("a step's work", shown, work_each, "bytes")])
    n, size = total(s), memory.width(how.weights)
    rule = Line("rule of thumb, N x M x 1.2", f"{n} x {size:g} x 1.2", rules.inference(n, size), "bytes")
    sections = [Section(need.title, (*need.lines,), need.total), Section("check", (rule,))]
    first = flops.forward(s, (how.prompt + 1) / 2)
    prefill = Line("prompt", f"{how.prompt} x {first.value:.4g}", how.prompt * first.value, "FLOP")
    work = [prefill, flops.forward(s, how.context)]
    if on is not None:
        kv_now = memory.cache(s, how.batch, how.prompt + how.answer, how.cache).value
        held_bytes = sum(x.value for x in held.lines)
        tpot = machine.decode(s, on, held_bytes, kv_now, how.batch)
        seconds = prefill.value / (on.flops * on.mfu)
        ttft = Line("TTFT", f"{prefill.value:.4g} / ({on.flops:.3g} x {on.mfu:g})", seconds, "s")
        whole = machine.latency(ttft.value, tpot.value, how.answer)
        work += [
            ttft,
            tpot,
            Line("latency, TTFT + TPOT x n", f"{ttft.value:.3g} + {tpot.value:.3g} x {how.answer}", whole, "s"),
            Line(
                "tokens a second, all sequences", f"{how.batch} / {tpot.value:.3g}", how.batch / tpot.value, "tokens/s"
            ),
            Line("ops:byte", f"{on.flops:.3g} / {on.bandwidth:.3g}", on.ops_byte, "FLOP/B"),
        ]
    return [*sections, Section(f"work of serving{'' if on is None else f' on {on.name}'}", tuple(work))]


def training(s: Shape, how: Training, on: Machine | None = None) -> list[Section]:
    full = how.method == "full"
    adapter = lora(s, how.adapter)
    assert adapter.total is not None
    trained = [] if full else [adapter, Section("share", (_share(int(adapter.total.value), total(s)),))]
    count = total(s) if full else int(adapter.total.value)
    tokens = how.tokens if how.tokens is not None else flops.chinchilla(active(s))
    once = flops.step(s, how.length, frozen=not full, checkpointing=how.checkpointing)
    work = [
        once,
        Line("the run", f"{tokens:.4g} x {once.value:.4g}", tokens * once.value, "FLOP"),
        Line("rule of thumb, 6 N D", f"6 x {active(s)} x {tokens:.4g}", flops.six(active(s), tokens), "FLOP"),
    ]
    if on is not None:
        rate = on.flops * on.mfu / once.value
        work += [
            Line("tokens a second", f"{on.flops:.3g} x {on.mfu:g} / {once.value:.4g}", rate, "tokens/s"),
            Line("the run takes", f"{tokens:.4g} / {rate:.4g}", tokens / rate, "s"),
        ]
    title = f"work of training{'' if on is None else f' on {on.name}'}"
    return [*trained, *step_memory(s, how, count), Section(title, tuple(work))]


def step_memory(s: Shape, how: Training, count: int) -> list[Section]:
    """Bytes of an optimiser step with `count` trained parameters: what is held all the time, and the wider of two
    moments. At the end of the forward pass all activations are there; towards the end of the backward pass they have
    given way to the gradients."""
    full, each = how.method == "full", 4 if how.precision == "fp32" else 2
    dtype = "fp32" if how.precision == "fp32" else "bf16"
    base = memory.weights(s, how.weights if how.method == "qlora" else dtype, dtype)
    own = [] if full else [Line("adapter", f"{count} x {each}", count * each, "bytes")]
    gradients, *states = memory.trained(count, how.precision, how.optimiser, total(s) - linear(s) if full else 0)
    held = summed("held all the time", [*base.lines, *own, *states])

    which: dict[str, object] = {"length": how.length}
    which |= {} if full else {"targets": how.adapter.targets, "rank": how.adapter.rank}
    forward = [activations.kept(s, how.micro, each, full=full, checkpointing=how.checkpointing, **which)]
    forward.append(activations.gaps(forward[0]))
    backward = [gradients]
    if s.head:
        forward.append(activations.chunk(s, how.micro, each, learns=full))
    if full and s.head:  # the head's share is taken chunk by chunk, and waits for that of the embedding
        table = s.vocab * s.dim * each
        forward.append(Line("gradient of the head, twice", f"2 x {s.vocab} x {s.dim} x {each}", 2 * table, "bytes"))
        backward.append(Line("gradients of the table", f"2 x {s.vocab} x {s.dim} x {each}", 2 * table, "bytes"))
    if how.micros > 1:
        forward.append(gradients)
    moments = [summed("end of the forward pass", forward), summed("end of the backward pass", backward)]
    sizes = [m.total.value for m in moments if m.total]
    widest = moments[sizes.index(max(sizes))]
    assert held.total is not None
    need = [
        Line("held all the time", "above", held.total.value, "bytes"),
        Line(widest.title, "the wider moment", max(sizes), "bytes"),
    ]
    plain = activations.whole(s, how.micro, each)
    extra = (
        [Section("without chunks", (plain,))]
        if s.head and plain.value > activations.chunk(s, how.micro, each, learns=full).value
        else []
    )
    return [held, *moments, summed("memory of a training step", need), *extra]


def _share(trained: int, of: int) -> Line:
    return Line("trained", f"{trained} / {of}", trained / of, "")


def counted(n: float, tokens: float | None = None, on: Machine | None = None) -> list[Section]:
    """What a bare number of parameters tells."""
    d = tokens if tokens is not None else flops.chinchilla(n)
    held, serve = [], []
    for kind in _SHOWN:
        size = memory.width(kind)
        held.append(Line(f"weights, {kind}", f"{n:.4g} x {size:.4g}", n * size, "bytes"))
        serve.append(Line(f"serving, {kind}", f"{n:.4g} x {size:.4g} x 1.2", rules.inference(n, size), "bytes"))
    adam = Line("gradients and Adam, bf16", f"{n:.4g} x 3 x 2", rules.gradients_and_states(n, 2), "bytes")
    work = [
        Line("Chinchilla", f"20 x {n:.4g}", flops.chinchilla(n), "tokens"),
        Line("training, 6 N D", f"6 x {n:.4g} x {d:.4g}", flops.six(n, d), "FLOP"),
    ]
    if on is not None:
        seconds = flops.six(n, d) / (on.flops * on.mfu)
        work.append(Line("the run takes", f"{work[1].value:.4g} / ({on.flops:.3g} x {on.mfu:g})", seconds, "s"))
        read = n * 2 / (on.bandwidth * on.mbu)
        work.append(Line("TPOT in bf16", f"{n:.4g} x 2 / ({on.bandwidth:.3g} x {on.mbu:g})", read, "s"))
    return [
        Section("weights", tuple(held)),
        Section("serving (rule of thumb)", tuple(serve)),
        Section("training", (adam, *work)),
    ]


_SHOWN: Sequence[str] = ("fp32", "bf16", "int8", "nf4")
