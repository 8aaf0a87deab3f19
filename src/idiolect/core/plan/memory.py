"""Bytes: weights, keys and values, gradients, optimiser states."""

from __future__ import annotations

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.plan.lines import Line, Section, summed
from idiolect.core.plan.parameters import linear, total
from idiolect.core.plan.shape import Shape

BITS = {  # a weight, the constants of its block included
    "fp32": 32.0,
    "bf16": 16.0,
    "fp16": 16.0,
    "q8_0": 8.5,
    "int8": 8.0,
    "fp8": 8.0,
    "q4_1": 5.0,
    "q4_0": 4.5,
    "nf4": 4 + 8 / 64 + 32 / (64 * 256),
    "ternary": 2.0,
}
FLOATS = ("fp32", "bf16", "fp16")
STATES = {"adamw": 2, "muon": 1, "sgd": 1}  # values a trained parameter; muon's embedding and head take adamw's


def width(kind: str) -> float:
    """Bytes a weight."""
    if kind not in BITS:
        raise BadInput(f"there is no weight format {kind!r}", hint=did_you_mean(kind, BITS), param="weights")
    return BITS[kind] / 8


def weights(s: Shape, kind: str, rest: str = "bf16") -> Section:
    """The layers' matrices in `kind`; when that is no float type, what else there is stays in `rest`."""
    inside, each = linear(s), width(kind)
    outside = total(s) - inside
    other = kind if kind in FLOATS else rest
    return summed(
        "weights",
        [
            Line("matrices", f"{inside} x {BITS[kind]:.4g} bits / 8", inside * each, "bytes"),
            Line("embedding, norms", f"{outside} x {width(other):g}", outside * width(other), "bytes"),
        ],
    )


def cache(s: Shape, sequences: int, tokens: int, bytes_each: float = 2) -> Line:
    """Keys and values: 2 x B x S x L x (key heads x head width) x bytes."""
    value = 2 * sequences * tokens * s.layers * s.kv_width * bytes_each
    how = f"2 x {sequences} x {tokens} x {s.layers} x {s.kv_width} x {bytes_each:g}"
    return Line("keys and values", how, value, "bytes")


def trained(count: int, precision: str, optimiser: str, adamw: int = 0) -> list[Line]:
    """Gradients, optimiser states and masters of `count` trained parameters. bf16 keeps all in 2 bytes, fp32 in 4;
    mixed has float32 masters, gradients and states over bf16 weights. `adamw`: how many of them muon leaves to it."""
    if precision not in ("fp32", "bf16", "mixed"):
        raise BadInput(f"there is no precision {precision!r}", hint=did_you_mean(precision, ["fp32", "bf16", "mixed"]))
    if optimiser not in STATES:
        raise BadInput(f"there is no optimiser {optimiser!r}", hint=did_you_mean(optimiser, STATES))
    each = 2 if precision == "bf16" else 4
    values = STATES[optimiser] * count + (adamw if optimiser == "muon" else 0)
    found = [
        Line("gradients", f"{count} x {each}", count * each, "bytes"),
        Line(f"{optimiser} states", f"{values} x {each}", values * each, "bytes"),
    ]
    if precision == "mixed":
        found.append(Line("float32 masters", f"{count} x 4", count * 4, "bytes"))
    return found
