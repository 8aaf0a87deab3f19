"""How our parameters are called in other people's files, both ways.

A family declares one `Rule` per parameter of its own. A rule with several parts is a fused matrix: the parts lie one
after another in dimension 0. Reading fills our parameter from the parts; writing cuts it into the parts again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Dialect = str  # "hf" or "gguf"


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of a file: its name in each dialect and how many rows of ours it fills (0: all of them).

    `conv1d`: Hugging Face stores it transposed, [In, Out] (GPT-2). `rope_heads`: a GGUF file of architecture `llama`
    stores these rows with the two halves of every head's rotation interleaved.
    """

    hf: str
    gguf: str
    rows: int = 0
    conv1d: bool = False
    rope_heads: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """Our parameter `name` and its parts."""

    name: str
    parts: tuple[Part, ...]


def one(name: str, hf: str, gguf: str, *, conv1d: bool = False) -> Rule:
    """A parameter that is one tensor in every dialect."""
    return Rule(name, (Part(hf, gguf, conv1d=conv1d),))


def numbered(rules: Sequence[Rule], index: int) -> list[Rule]:
    """The rules of one layer: `{i}` in every name becomes the layer's index."""

    def at(text: str) -> str:
        return text.replace("{i}", str(index))

    return [
        Rule(at(r.name), tuple(Part(at(p.hf), at(p.gguf), p.rows, p.conv1d, p.rope_heads) for p in r.parts))
        for r in rules
    ]


def interleave_halves(weight: Tensor, heads: int) -> Tensor:
    """Half-rotation rows -> interleaved rows, as GGUF's llama architecture stores q and k. [Out, ...] -> same."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape)


def separate_halves(weight: Tensor, heads: int) -> Tensor:
    """The inverse of `interleave_halves`."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(weight.shape)


def split(value: Tensor, rule: Rule) -> dict[str, Tensor]:
    """Our parameter as the tensors of a Hugging Face file."""
    if len(rule.parts) == 1:
        pieces: Sequence[Tensor] = [value]
    else:
        pieces = torch.split(value, [p.rows for p in rule.parts])
    return {p.hf: (piece.t() if p.conv1d else piece).contiguous() for p, piece in zip(rule.parts, pieces, strict=True)}
