"""The loop. Everything else in this package is called from here, once per step.

A step adds up the gradients of its micro-batches' loss sums and divides once by the weight of them all, so how a step
is cut into micro-batches (and over processes) does not change it. What a step does is a function of the weights, the
optimiser's state and the step's number; a resumed run therefore repeats, bit for bit, the run that never stopped.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.data.batch import TrainBatch
from idiolect.models.base import Model
from idiolect.train import checkpoint, heap
from idiolect.train.checkpoint import Progress
from idiolect.train.config import TrainConfig
from idiolect.train.diverged import check
from idiolect.train.fused import fused
from idiolect.train.interrupt import interruptible
from idiolect.train.layers import checkpointed, compiled
from idiolect.train.meter import Meter
from idiolect.train.objective import Objective, Source
from idiolect.train.optim.build import Optimisers, build, rules
from idiolect.train.precision import Weights
from idiolect.train.ranks import Ranks
from idiolect.train.schedule import factor
from idiolect.train.watch import Record, Watch, memory


@dataclass(slots=True)
class Outcome:
    """What `fit` did. `validation` is of the last validation, `best` of the lowest; `stopped`: by Ctrl-C."""

    progress: Progress
    total: int
    train: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    stopped: bool = False


@dataclass(slots=True)
class Trainer:
    """A run: what is trained on what. `watch` sees every record; `store` writes and reads checkpoints (None: none)."""

    model: Model
    objective: Objective
    source: Source
    config: TrainConfig
    validation: Source | None = None
    watch: Watch | None = None
    store: checkpoint.Store | None = None
    ranks: Ranks = field(default_factory=Ranks)
    progress: Progress = field(default_factory=Progress)
    weights: Weights = field(init=False)
    optimisers: Optimisers = field(init=False)
    ahead: tuple[int, list[TrainBatch], list[TrainBatch]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        modules: dict[str, nn.Module] = {"model": self.model}
        if isinstance(self.objective, nn.Module):
            modules["objective"] = self.objective
        self.weights = Weights(modules, self.config.precision, sharded=self.ranks.sharded)
        decayed, hidden = rules(modules)
        self.optimisers = build(self.weights.masters, self.config.optimiser, decayed, hidden)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        if self.config.steps is not None:
            return self.config.steps
        return max(1, math.ceil((self.config.epochs or 1.0) * self.source.steps_per_epoch))

    # ------------------------------------------------------------------------------------------------- the loop

    def fit(self, resume: bool = False) -> Outcome:
        """Train to the end, or to Ctrl-C. `resume` goes on from the last checkpoint of `store`."""
        if resume:
            self.restore()
        outcome = Outcome(self.progress, self.total)
        with ExitStack() as stack:
            stack.enter_context(heap.kept())
            stack.callback(self.weights.close)
            stack.enter_context(checkpointed(self.model, self.config.checkpointing))
            stack.enter_context(torch.random.fork_rng())
            wish = stack.enter_context(interruptible())
            stack.enter_context(fused(self.model, not self.ranks.sharded))
            stack.enter_context(compiled(self.model, self.config.compile, whole=not self.ranks.sharded))
            self.model.train()
            while self.progress.step < self.total:
                record = self.step()
                outcome.train = record.figures
                last = self.progress.step == self.total
                outcome.stopped = self.ranks.agree(wish.stop) and not last
                if last or self.progress.step % self.config.log_every == 0:
                    self.tell(record)
                if self.validation is not None and (last or self.due(self.config.validate_every)):
                    outcome.validation = self.validate()
                    self.tell(Record("validation", self.progress.step, outcome.validation))
                if last or outcome.stopped or self.due(self.config.checkpoint_every):
                    self.save("last")
                if outcome.stopped:
                    break
        return outcome

    def step(self) -> Record:
        """One optimiser step."""
        begin, config, number = time.perf_counter(), self.config, self.progress.step
        torch.manual_seed(Streams(config.seed).integer("step", number))  # what draws (dropout) repeats on resume
        meter = Meter()
        micros, moved = self.batches(number)
        for i, micro in enumerate(micros):
            batch = moved[i] if i < len(moved) else micro.to(self.model.device)
            loss = self.objective(self.model, batch)
            meter.add(loss, micro)  # counted on the host: a GPU is not waited for
            if loss.sum.requires_grad:
                loss.sum.backward()
        if self.model.device.type == "cuda" and number + 1 < self.total:  # while the GPU is at work
            coming = self.ranks.share(self.source.step(number + 1))
            self.ahead = (number + 1, coming, [micro.to(self.model.device) for micro in coming[:1]])
        sums = self.ranks.add(meter.sums())
        figures, weight = meter.figures(sums), float(sums[1])
        norm = self.norm() / weight if weight else 0.0
        check(self, micros, meter, norm, figures["loss"])
        rate = factor(config.schedule, number, self.total)
        if weight:
            clipped = min(1.0, config.clip / (norm + 1e-6)) if config.clip is not None else 1.0
            scale(self.weights.gradients(), clipped / weight)
            self.optimisers.step(rate)
        self.weights.publish()
        self.progress.step += 1
        self.progress.tokens += int(sums[-2])
        seconds = time.perf_counter() - begin
        figures |= {
            "lr": self.optimisers.lr(),
            "grad_norm": norm,
            "tokens": float(sums[-2]),
            "counted": float(sums[-1]),
            "seconds": seconds,
            "memory": memory(self.model.device),
        }
        return Record("step", self.progress.step, figures)

    def batches(self, number: int) -> tuple[list[TrainBatch], list[TrainBatch]]:
        """This rank's micro-batches of a step, which may have been made already, and those that are on the GPU."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None and ahead[0] == number:
            return ahead[1:]
        return self.ranks.share(self.source.step(number)), []

    def norm(self) -> float:
        """The global norm of the gradient sums."""
        meshes: dict[Any, list[Tensor]] = {}  # one sum for each way in which gradients are sharded
        for grad in self.weights.gradients():
            meshes.setdefault(getattr(grad, "device_mesh", None), []).append(grad)
        norms = [torch.nn.utils.get_total_norm(grads) for grads in meshes.values()]
        return math.hypot(*(float(n.full_tensor() if isinstance(n, DTensor) else n) for n in norms))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means over the whole validation source; the lowest loss so far is kept as `best`."""
        assert self.validation is not None
        self.model.eval()
        figures = evaluate(self.model, self.objective, self.validation, self.ranks)
        self.model.train()
        if self.progress.best is None or figures["loss"] < self.progress.best:
            self.progress.best, self.progress.best_step = figures["loss"], self.progress.step
            self.save("best")
        return figures

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps (0: every epoch) happens now."""
        return self.progress.step % (every or self.source.steps_per_epoch) == 0

    def tell(self, record: Record) -> None:
        if self.watch is not None and self.ranks.main:
            self.watch(record)

    # ----------------------------------------------------------------------------------------------- checkpoints

    def save(self, name: str) -> None:
        """Write the checkpoint `last` (all that a resumed run needs) or `best` (weights only)."""
        if self.store is None:
            return
        tensors = {f"weights/{k}": v for k, v in self.weights.masters.items()}
        if name == "last":
            tensors |= {f"optimiser/{k}": v for k, v in self.optimisers.state().items()}
        self.store.save(name, tensors, self.progress)

    def restore(self, name: str = "last") -> None:
        """Take over a checkpoint; `best` is for its weights."""
        if self.store is None:
            raise BadInput("nothing to resume: this run keeps no checkpoints", hint="give it a folder")
        tensors = {f"weights/{k}": v for k, v in self.weights.masters.items()}
        if name == "last" and self.ranks.sharded:
            self.optimisers.prepare()
            tensors |= {f"optimiser/{k}": v for k, v in self.optimisers.state().items()}
        found, progress = self.store.load(name, tensors)
        self.weights.restore(checkpoint.part(found, "weights"))
        if name == "last":
            self.optimisers.restore(checkpoint.part(found, "optimiser"))
            self.progress = progress


def scale(grads: list[Tensor], factor: float) -> None:
    """In place; on a GPU in one launch."""
    if grads and all(type(grad) is Tensor and grad.is_cuda for grad in grads):
        torch._foreach_mul_(grads, factor)
        return
    for grad in grads:
        grad.mul_(factor)


@torch.no_grad()
def evaluate(model: Model, objective: Objective, source: Source, ranks: Ranks | None = None) -> dict[str, float]:
    """Means of loss and metrics over one pass of a source."""
    ranks, meter = ranks or Ranks(), Meter()
    for number in range(source.steps_per_epoch):
        for micro in ranks.share(source.step(number)):
            batch = micro.to(model.device)
            meter.add(objective(model, batch), batch)
    return meter.figures(ranks.add(meter.sums()))


def fit(model: Model, objective: Objective, source: Source, config: TrainConfig, **options: Any) -> Outcome:
    """Train `model` in memory: `Trainer(...).fit()` for a notebook."""
    return Trainer(model, objective, source, config, **options).fit()
