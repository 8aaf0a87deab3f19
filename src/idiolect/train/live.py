"""A run as it is seen while it goes: a bar with figures on a terminal, and TensorBoard where it is wanted."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.core.errors import Unavailable
from idiolect.core.progress import Sink, progress
from idiolect.train.recipe import Recipe
from idiolect.train.watch import Record, Watch

if TYPE_CHECKING:
    from idiolect.train.loop import Trainer


def bar(trainer: Trainer, stack: ExitStack, sink: Sink | None = None) -> Watch:
    """Steps done, time left, and in the note: loss, validation loss, learning rate, tokens/s, memory."""
    shown = stack.enter_context(progress("training", trainer.total, "steps", sink))
    shown.update(done=trainer.progress.step)
    held = ""

    def show(record: Record) -> None:
        nonlocal held
        f = record.figures
        if record.kind == "validation":
            held = f", validation {f['loss']:.3f}"
            return
        speed = f["tokens"] / max(f["seconds"], 1e-9)
        note = f"loss {f['loss']:.3f}{held}, lr {f['lr']:.1e}, {speed:,.0f} tokens/s, {f['memory'] / 1e9:.2f} GB"
        shown.update(done=record.step, note=note)

    return show


def board(recipe: Recipe, folder: Path, stack: ExitStack) -> list[Watch]:
    """A writer for TensorBoard, if `train.tensorboard` asks for it."""
    if not recipe.train.tensorboard:
        return []
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise Unavailable("tensorboard is not installed", hint="pip install 'idiolect[tensorboard]'") from None
    writer = SummaryWriter(str(folder / "tensorboard"))
    stack.callback(writer.close)

    def show(record: Record) -> None:
        for name, value in record.figures.items():
            writer.add_scalar(f"{record.kind}/{name}", value, record.step)

    return [show]
