"""The `train` section of a recipe: everything that the loop can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from idiolect.core.errors import BadInput

Precision = Literal["fp32", "bf16", "mixed"]


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """`lr` is the peak of the schedule. `decay` (weight decay) acts on matrices only, never on norms, biases or
    embeddings. `momentum` is SGD's; `muon_lr` and `muon_momentum` are of the matrices under Muon, whose other
    parameters take AdamW with `lr`."""

    name: Literal["adamw", "muon", "sgd"] = "adamw"
    lr: float = 1e-3
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    momentum: float = 0.9
    muon_lr: float = 0.02
    muon_momentum: float = 0.95

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.muon_lr <= 0:
            raise BadInput(f"a learning rate is {min(self.lr, self.muon_lr)}", hint="give a positive number")
        if self.decay < 0:
            raise BadInput(f"decay is {self.decay}", hint="give 0 or a positive number")
        if not all(0 <= b < 1 for b in (*self.betas, self.momentum, self.muon_momentum)):
            raise BadInput("betas and momentum lie in [0, 1)", hint="usual: betas [0.9, 0.95], momentum 0.9")


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How the learning rate moves. `warmup` and `decay` are steps, or parts of the whole run when below 1.

    `decay` is the length of the last phase of `wsd`; `floor` the part of the peak that is left at the end of `linear`,
    `cosine`, `wsd` and `exponential`."""

    name: Literal["constant", "linear", "cosine", "wsd", "exponential"] = "cosine"
    warmup: float = 0.0
    decay: float = 0.2
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.decay < 0:
            raise BadInput("warmup and decay are not negative", hint="steps, or a part of the run below 1")
        if not 0 <= self.floor <= 1:
            raise BadInput(f"floor is {self.floor}", hint="a part of the peak, between 0 and 1")
        if self.name == "exponential" and self.floor == 0:
            raise BadInput("an exponential never reaches 0", hint="give schedule.floor, such as 0.01")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One of `steps` and `epochs` says how long (neither: one epoch). What a step is made of is in `data.batching`.

    `precision`: fp32; bf16 (weights, gradients and optimiser states); mixed (bf16 computes, fp32 masters are updated).
    `clip` bounds the global norm of the gradient (None: no bound). `validate_every` and `checkpoint_every` count
    steps (0: at the end of each epoch, and at the end). `export` chooses the weights that the run ends with. Of the
    processes that torchrun started, `tensor` share each matrix; the others share the data.
    """

    steps: int | None = None
    epochs: float | None = None
    precision: Precision = "fp32"
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    clip: float | None = 1.0
    seed: int = 0
    checkpointing: bool = False
    compile: bool = False
    validate_every: int = 0
    checkpoint_every: int = 0
    log_every: int = 1
    export: Literal["best", "last"] = "best"
    tensorboard: bool = False
    device: str = "cpu"
    tensor: int = 1

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise BadInput("both steps and epochs are given", hint="give one of them; the other null", param="steps")
        if (self.steps is not None and self.steps < 1) or (self.epochs is not None and self.epochs <= 0):
            raise BadInput("there is nothing to train: steps or epochs is not positive", hint="give at least one step")
        for name in ("log_every", "tensor"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}", hint="give at least 1", param=name)
        for name in ("validate_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name} is negative", hint="give steps, or 0 for the end of each epoch", param=name)
        if self.clip is not None and self.clip <= 0:
            raise BadInput(f"clip is {self.clip}", hint="give a positive norm, or null", param="clip")
