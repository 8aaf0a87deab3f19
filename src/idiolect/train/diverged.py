"""A loss or gradient that is not finite stops the run before the step, and says which examples it came from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from idiolect.core.errors import IdiolectError
from idiolect.data.batch import TrainBatch
from idiolect.train.meter import Meter
from idiolect.train.ranks import segment

if TYPE_CHECKING:
    from idiolect.train.loop import Trainer


class Diverged(IdiolectError):
    """The loss or the gradient became infinite or not a number. The weights are those of the step before."""

    code = "diverged"


def check(run: Trainer, micros: list[TrainBatch], meter: Meter, norm: float, loss: float) -> None:
    """Raise `Diverged` when this step's loss or gradient is not finite on any rank."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    number = run.progress.step
    bad = [i for i, value in enumerate(meter.losses) if not math.isfinite(float(value))]
    what = "the loss" if bad else "the gradient"
    where = "; ".join(f"micro-batch {i}{_segments(run, micros[i])}" for i in bad[:3]) or "finite losses"
    names = getattr(run.source, "examples", None)
    told = f"; examples {', '.join(map(str, names(number)[:8]))}" if names is not None else ""
    kept = "no checkpoint had been written yet"
    if run.store is not None and run.store.has("last"):
        kept = f"the last good checkpoint is {run.store.path('last')}"
    raise Diverged(
        f"{what} is not finite in step {number + 1} ({where}{told}); {kept}",
        hint="lower the learning rate, clip the gradient, or look at these examples, then resume",
    )


@torch.no_grad()
def _segments(run: Trainer, batch: TrainBatch) -> str:
    """Which segments of a micro-batch are to blame, one computed after the other."""
    if run.ranks.sharded:
        return ""  # the others would have to take part
    group = int(getattr(run.objective, "group", 1))  # segments that only make sense together (a pair)
    bad = []
    for first in range(0, batch.batch.segments - group + 1, group):
        loss = run.objective(run.model, segment(batch, first, group).to(run.model.device))
        if not math.isfinite(float(loss.sum)):
            bad.append(str(first))
    return f", segments {', '.join(bad[:8])}" if bad else ""
