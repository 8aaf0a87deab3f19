"""What a training step keeps between forward and backward, counted from the models' code (`nn`, `models`).

Per token and layer, in values (D model width, H = heads x head width, K = key heads x head width, F feed-forward's):

    norm (two of them)   its input D, and 1 float32 statistic (LayerNorm: 2); norms of queries and keys read a view
    qkv product          its input D, if it or an adapter on it is trained; its output H + 2K (the values are a view)
    rotation             rotated queries and keys H + K (learned positions: none)
    attention            its output H, and one float32 a head (short segments in float32: nothing, see `SHORT`)
    output product       its input H, if it or an adapter on it is trained
    feed-forward         input D if trained; gate and up 2F; act(gate) * up F if `down` is trained
                         (without a gate: up F; act(up) F if `down` is trained)

A frozen matrix keeps nothing: the gradient of its input needs the matrix alone. With recomputation a layer keeps its
input D, and one layer at a time has all of the above. The test compares this with the tensors that autograd saves.
"""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.core.plan.lines import Line
from idiolect.core.plan.parameters import TARGETS
from idiolect.core.plan.shape import Shape

CHUNK = 1 << 24  # logits of one chunk of the cross-entropy (`train.cross_entropy`)
FROZEN = 3 << 21  # the same where the head does not learn
FEWEST = 64  # rows of a chunk
GAPS = 0.18  # of the activations
SHORT = 128  # tokens; of segments of several lengths up to it, a CPU makes the weights again in float32 (`nn.padded`)


def layer(
    s: Shape, each: int, *, full: bool, targets: Sequence[str] = (), rank: int = 0, length: int | None = None
) -> float:
    """Bytes per token that one layer keeps. `each`: bytes of a value in the model's dtype; `length`: tokens of a
    segment, where it is known."""
    D, H, K, F = s.dim, s.q_width, s.kv_width, s.hidden
    on = set(TARGETS) if full else set(targets)
    norms: float = 2 * (D * each + 4 * s.norm_vectors)
    short = each == 4 and length is not None and length <= SHORT
    values = H + 2 * K + (0 if short else H)  # qkv's output, attention's
    values += (H + K) if not s.positions else 0
    values += D if on & {"q_proj", "k_proj", "v_proj"} else 0
    values += H if "o_proj" in on else 0
    values += D if on & {"gate_proj", "up_proj"} else 0
    values += 2 * F if s.gated else F
    values += F if "down_proj" in on else 0
    norms += 4 * (s.heads + s.kv_heads) if s.qk_norm else 0
    values += rank * len(on) if not full else 0
    return norms + values * each + (0 if short else 4 * s.heads)


def kept(s: Shape, tokens: int, each: int, *, full: bool, checkpointing: bool = False, **which: object) -> Line:
    """All layers, the last norm and the final hidden rows, for `tokens` tokens of a micro-batch."""
    one = layer(s, each, full=full, **which)  # type: ignore[arg-type]
    last = 2 * s.dim * each + 4 * s.norm_vectors
    if checkpointing:
        value = tokens * (s.layers * s.dim * each + one + last)
        how = f"{tokens} x ({s.layers} x {s.dim * each} + {one:.0f} + {last:.0f})"
    else:
        value, how = tokens * (s.layers * one + last), f"{tokens} x ({s.layers} x {one:.0f} + {last:.0f})"
    return Line("activations", how, value, "bytes")


def gaps(kept: Line) -> Line:
    """What a heap loses between the blocks of a step: measured with glibc, 549 to 561 MB where 472 are kept."""
    return Line("gaps of the heap", f"{GAPS:g} x the activations", GAPS * kept.value, "bytes")


def chunk(s: Shape, tokens: int, each: int, *, learns: bool) -> Line:
    """Cross-entropy in chunks: a chunk's logits, which become probabilities and then the gradient; in two bytes a
    float32 copy of the logits does, and the gradient is rounded. `learns`: whether the head does."""
    rows = min(tokens, max(FEWEST, (CHUNK if learns else FROZEN) // s.vocab))
    width = 4 if each == 4 else 8
    return Line("logits of a chunk", f"{rows} x {s.vocab} x {width}", rows * s.vocab * width, "bytes")


def whole(s: Shape, tokens: int, each: int) -> Line:
    """The same without chunks: what a plain cross-entropy would need."""
    width = 8 if each == 4 else 12
    return Line("logits of a batch", f"{tokens} x {s.vocab} x {width}", tokens * s.vocab * width, "bytes")
