"""Where the parameters are: GPT-3's eight categories of matrices (embedding, key, query, value, output, up, down,
unembedding; 3Blue1Brown 2024, "Transformers, the tech behind LLMs"), and everything that is not a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.plan.lines import Line, Section, summed
from idiolect.core.plan.shape import Shape

UNIT = "parameters"
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def parameters(s: Shape) -> Section:
    """Every parameter of the model by category; their sum is the model's size."""
    return summed("parameters", [*matrices(s), *others(s)])


def matrices(s: Shape) -> list[Line]:
    """The eight categories. A tied unembedding counts 0: it is the embedding."""
    L, D = s.layers, s.dim

    def line(name: str, *factors: int) -> Line:
        value = 1
        for factor in factors:
            value *= factor
        return Line(name, " x ".join(map(str, factors)), value, UNIT)

    found = [
        line("embedding", s.vocab, D),
        line("key", L, D, s.kv_width),
        line("query", L, D, s.q_width),
        line("value", L, D, s.kv_width),
        line("output", L, s.q_width, D),
    ]
    if s.experts:
        sparse, wide = L - s.dense_layers, 3 if s.gated else 2
        found += [
            line("experts", sparse, s.experts, wide, D, s.expert_hidden),
            line("router", sparse, D, s.experts),
            *([line("shared experts", sparse, wide, D, s.shared_hidden)] if s.shared_hidden else []),
            *([line("gates of shared experts", sparse, D)] if s.kind == "qwen2_moe" else []),
            *([line("dense layers", s.dense_layers, wide, D, s.hidden)] if s.dense_layers else []),
        ]
    else:
        found += [
            line("up (with gate)", L, 2, D, s.hidden) if s.gated else line("up", L, D, s.hidden),
            line("down", L, s.hidden, D),
        ]
    if s.head:
        found.append(Line("unembedding", "the embedding", 0, UNIT) if s.tied else line("unembedding", s.vocab, D))
    return found


def others(s: Shape) -> list[Line]:
    """Learned positions and types, norms, biases."""
    found: list[Line] = []
    if s.positions:
        found.append(Line("positions", f"{s.positions} x {s.dim}", s.positions * s.dim, UNIT))
    if s.types:
        found.append(Line("token types", f"{s.types} x {s.dim}", s.types * s.dim, UNIT))
    norms = (2 * s.layers + 1) * s.norm_vectors * s.dim  # before each half and last; BERT: after each, and first
    how = f"(2 x {s.layers} + 1) x {s.norm_vectors} x {s.dim}"
    if s.qk_norm:
        norms, how = norms + s.layers * 2 * s.head_dim, f"{how} + {s.layers} x 2 x {s.head_dim}"
    found.append(Line("norms", how, norms, UNIT))
    width = (s.q_width + 2 * s.kv_width) * s.qkv_bias + s.dim * s.out_bias
    width += ((2 if s.gated else 1) * s.hidden + s.dim) * s.mlp_bias
    if width:
        found.append(Line("biases", f"{s.layers} x {width}", s.layers * width, UNIT))
    return found


def linear(s: Shape) -> int:
    """Parameters of the matrices inside the layers: what quantisation and 2N FLOPs are about."""
    return int(sum(x.value for x in matrices(s) if x.name not in ("embedding", "unembedding")))


def total(s: Shape) -> int:
    found = parameters(s).total
    assert found is not None
    return int(found.value)


def active(s: Shape) -> int:
    """Parameters that one token touches: all of them without experts."""
    if not s.experts:
        return total(s)
    sparse, wide = s.layers - s.dense_layers, 3 if s.gated else 2
    return total(s) - sparse * (s.experts - s.active) * wide * s.dim * s.expert_hidden


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA of `rank` on the matrices that `targets` names, in every layer."""

    rank: int = 8
    targets: Sequence[str] = TARGETS[:4]


def lora(s: Shape, adapter: Adapter) -> Section:
    """r (n + m) for a matrix [n, m] (Hu et al. 2021, arXiv:2106.09685)."""
    D, F = s.dim, s.hidden
    shapes = {"q_proj": (s.q_width, D), "k_proj": (s.kv_width, D), "v_proj": (s.kv_width, D), "o_proj": (D, s.q_width)}
    shapes |= {"up_proj": (F, D), "down_proj": (D, F), **({"gate_proj": (F, D)} if s.gated else {})}
    lines = []
    for name in adapter.targets:
        if name not in shapes:
            raise BadInput(f"the model has no {name}", hint=did_you_mean(name, shapes), param="targets")
        n, m = shapes[name]
        value = s.layers * adapter.rank * (n + m)
        lines.append(Line(name, f"{s.layers} x {adapter.rank} x ({n} + {m})", value, UNIT))
    if not lines:
        raise BadInput("LoRA needs a matrix to adapt", hint=f"name some of {', '.join(shapes)}", param="targets")
    return summed("LoRA", lines, "trained")
