"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the half-rotation layout of Hugging Face.

Channel i of a head is rotated together with channel i + R/2 by the angle pos * inv_freq[i]; R is the rotated width,
at most the head's width. The angles are made once per step and shared by all layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.nn.batch import Batch
from idiolect.nn.tape import Heads, Sym, SymAngles


@dataclass(frozen=True, slots=True)
class Angles:
    """cos and sin [N, 1, R] of one step; the first half of `sin` is negated, so that a roll is the rotation."""

    cos: Tensor
    sin: Tensor


class Rope:
    """Frequencies of one model. `inv_freq` is [R/2] float32; `gain` multiplies cos and sin (YaRN's temperature)."""

    def __init__(
        self, dim: int, base: float = 10000.0, scaling: Mapping[str, Any] | None = None, trained: int = 2048
    ) -> None:
        """`dim` is R. `scaling` is config.json's `rope_scaling` (or `rope_parameters`); None or type "default"
        is plain. `trained` is `max_position_embeddings`, which some scalings need. Raises `BadInput`."""
        self.dim, self.base, self.trained = dim, float(base), trained
        self.gain = 1.0
        self.growth = 0.0  # above 0: dynamic NTK
        self.inv_freq = inverse_frequencies(dim, self.base)
        scaling = scaling or {}
        kind = scaling.get("rope_type") or scaling.get("type") or "default"
        try:
            if kind == "linear":
                self.inv_freq = self.inv_freq / float(scaling["factor"])
            elif kind == "ntk":
                self.inv_freq = inverse_frequencies(dim, ntk_base(dim, self.base, float(scaling["factor"])))
            elif kind == "dynamic":
                self.growth = float(scaling["factor"])
                self.trained = int(scaling.get("original_max_position_embeddings") or trained)
            elif kind == "yarn":
                self.inv_freq, self.gain = yarn(dim, self.base, scaling, trained)
            elif kind == "llama3":
                self.inv_freq = llama3(self.inv_freq, scaling)
            elif kind != "default":
                known = ["default", "linear", "ntk", "dynamic", "yarn", "llama3"]
                raise BadInput(f"rope scaling {kind!r} is not known", hint=did_you_mean(str(kind), known))
        except KeyError as missing:
            raise BadInput(f"rope scaling {kind!r} needs {missing}", hint="see the model's config.json") from None
        self._on_device = self.inv_freq

    def angles(self, batch: Batch, dtype: torch.dtype) -> Angles:
        """cos and sin for every token of the batch, made in float32 and rounded to `dtype` at the end."""
        if isinstance(batch.pos, Sym):
            return SymAngles(self)
        if self._on_device.device != batch.pos.device:
            self._on_device = self.inv_freq.to(batch.pos.device)
        theta = batch.pos.float()[:, None] * (self._dynamic(batch) if self.growth else self._on_device)  # [N, R/2]
        cos, sin = theta.cos(), theta.sin()
        if self.gain != 1.0:
            cos, sin = cos * self.gain, sin * self.gain
        return Angles(torch.cat((cos, cos), -1)[:, None].to(dtype), torch.cat((-sin, sin), -1)[:, None].to(dtype))

    def table(self, positions: int) -> tuple[Tensor, Tensor]:
        """cos and sin [positions, R/2] float32 of the first positions, up to the trained length if that matters."""
        theta = torch.arange(positions).float()[:, None] * self.inv_freq
        return theta.cos() * self.gain, theta.sin() * self.gain

    def _dynamic(self, batch: Batch) -> Tensor:
        """Dynamic NTK: the base grows with the length of each segment once it is past the trained length.

        Frequencies [R/2], or [N, R/2] when a segment is past it. Keys that a cache already holds keep their old
        rotation, so past the trained length cached and uncached differ (they do in transformers too). Engines stop
        at the trained length, where all are equal.
        """
        spans = [b - a for a, b in pairwise(batch.bounds)]
        lengths = spans if batch.state is None else list(batch.state.lengths)
        # The paths of a tree stay within the trained length (engine.likelihood), however long its branches are in all.
        if max(lengths) <= self.trained or batch.tree is not None:
            return self._on_device
        rows = []
        for span, length in zip(spans, lengths):
            scale = self.growth * max(length, self.trained) / self.trained - (self.growth - 1)
            rows.append(inverse_frequencies(self.dim, ntk_base(self.dim, self.base, scale)).expand(span, -1))
        return torch.cat(rows).to(batch.pos.device)


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """Rotate the first R channels of every head. x [N, H, Dh] -> [N, H, Dh]."""
    if isinstance(x, Heads):
        return x.rotate(angles)
    width = angles.cos.shape[-1]
    if width < x.shape[-1]:
        return torch.cat((rotate(x[..., :width], angles), x[..., width:]), -1)
    # Two products and a sum, not `addcmul`: its fused rounding moved SmolLM2's logits by 1e-4 from everybody else's.
    return (x * angles.cos).add_(x.roll(width // 2, -1).mul_(angles.sin))


def inverse_frequencies(dim: int, base: float) -> Tensor:
    """base^(-2i/R) for i < R/2, float32 [R/2]."""
    return 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim))


def ntk_base(dim: int, base: float, factor: float) -> float:
    """NTK-aware scaling: a larger base stretches the slow channels by `factor` and leaves the fast ones alone
    (bloc97 2023, "NTK-aware scaled RoPE")."""
    return base * factor ** (dim / (dim - 2))


def yarn(dim: int, base: float, scaling: Mapping[str, Any], trained: int) -> tuple[Tensor, float]:
    """YaRN (Peng et al. 2023, arXiv:2309.00071): channels that turn more than `beta_fast` times within the original
    context stay, those that turn less than `beta_slow` times are stretched by `factor`, a ramp joins them. Returns
    the frequencies [R/2] and the gain of cos and sin (the square root of the attention temperature's inverse)."""
    original = int(scaling.get("original_max_position_embeddings") or trained)
    factor = float(scaling["factor"]) if scaling.get("factor") else trained / original

    def temperature(scale: float, weight: float = 1.0) -> float:
        return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0

    gain = scaling.get("attention_factor")
    if gain is None:
        weight, whole = scaling.get("mscale"), scaling.get("mscale_all_dim")
        gain = (
            temperature(factor, float(weight)) / temperature(factor, float(whole))
            if weight and whole
            else temperature(factor)
        )

    def channel(turns: float) -> float:
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = channel(float(scaling.get("beta_fast") or 32)), channel(float(scaling.get("beta_slow") or 1))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    plain = inverse_frequencies(dim, base)
    return plain / factor * ramp + plain * (1 - ramp), float(gain)


def llama3(plain: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Llama 3.1's scaling: wavelengths past original/low_freq_factor are stretched by `factor`, those under
    original/high_freq_factor stay, the ones between are blended (Llama team 2024, arXiv:2407.21783)."""
    factor, original = float(scaling["factor"]), float(scaling["original_max_position_embeddings"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    wavelength = 2 * math.pi / plain
    blend = ((original / wavelength - low) / (high - low)).clamp(0, 1)
    return plain / factor * (1 - blend) + plain * blend
