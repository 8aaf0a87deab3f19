"""Work. A multiplication and an addition are two FLOPs."""

from __future__ import annotations

from idiolect.core.plan.lines import Line
from idiolect.core.plan.parameters import active, linear, total
from idiolect.core.plan.shape import Shape

CHINCHILLA = 20  # tokens a parameter (Hoffmann et al. 2022, arXiv:2203.15556)


def six(parameters: float, tokens: float) -> float:
    """6 N D: two FLOPs a parameter and token forward, four backward (Kaplan et al. 2020, arXiv:2001.08361)."""
    return 6 * parameters * tokens


def chinchilla(parameters: float) -> float:
    """Training tokens for the least loss of a compute budget; parameters and tokens grow together."""
    return CHINCHILLA * parameters


def multiplied(s: Shape) -> int:
    """Parameters that a token is multiplied with: the layers' matrices (of its experts) and the unembedding, tied or
    not; looking up an embedding is no product."""
    idle = total(s) - active(s)
    return linear(s) - idle + (s.vocab * s.dim if s.head else 0)


def forward(s: Shape, context: float) -> Line:
    """FLOPs of one token that sees `context` tokens: 2 N' + 4 L H Dh context (scores, and values by them)."""
    products, attention = 2 * multiplied(s), 4 * s.layers * s.q_width * context
    how = f"2 x {multiplied(s)} + 4 x {s.layers} x {s.q_width} x {context:g}"
    return Line("forward, a token", how, products + attention, "FLOP")


def step(s: Shape, length: int, *, frozen: bool = False, checkpointing: bool = False) -> Line:
    """FLOPs of one token in a training step on causal sequences of `length`: the backward pass costs two forward
    passes, one where the matrices are frozen (their own gradient is not taken); recomputing costs another."""
    once = forward(s, (length + 1) / 2)
    times = 1 + (1 if frozen else 2) + (1 if checkpointing else 0)
    return Line("training, a token", f"{times} x {once.value:.4g}", times * once.value, "FLOP")
