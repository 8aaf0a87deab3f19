"""Learning-rate schedules as pure functions of the step, so that a resumed run goes on where it was.

- `constant`; `linear` to the floor; `cosine` (Loshchilov and Hutter 2016, arXiv:1608.03983);
- `wsd`: warm-up, stable, then linear decay over the last part (Hu et al. 2024, arXiv:2404.06395);
- `exponential`: warm-up, then a constant factor per step that ends at the floor.
"""

from __future__ import annotations

import math

from idiolect.train.config import ScheduleConfig


def factor(config: ScheduleConfig, step: int, total: int) -> float:
    """What the peak is multiplied by in step `step` (from 0) of `total`. The first step of a warm-up of W steps gets
    1/W, the last step of a run is the last before the floor."""
    warmup = span(config.warmup, total)
    if step < warmup:
        return (step + 1) / warmup
    done, length = step - warmup, max(1, total - warmup)
    part = min(1.0, done / length)
    if config.name == "linear":
        return config.floor + (1 - config.floor) * (1 - part)
    if config.name == "cosine":
        return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * part))
    if config.name == "wsd":
        decay = max(1, span(config.decay, total))
        left = min(1.0, (total - step) / decay)
        return config.floor + (1 - config.floor) * left
    if config.name == "exponential":
        return float(config.floor**part)
    return 1.0


def span(value: float, total: int) -> int:
    """Steps: `value` itself, or its part of `total` when below 1."""
    return round(value * total) if value < 1 else int(value)
