"""What a step had to do, in bytes and multiply-adds, and how busy the engine was: for MBU, MFU and batch occupancy.

Counted is what the mathematics needs, not what an implementation happens to do (Chowdhery et al., "PaLM", 2022,
appendix B, for the arithmetic; MBU is the same idea for memory): the weights once a step, the keys and values of every
sequence's context once, each matrix and each score once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idiolect.engine.metrics import EngineStats
    from idiolect.engine.scheduler import Work
    from idiolect.models.base import CausalModel

RECENT = 512  # steps that the recent rates look back on


@dataclass(slots=True)
class Load:
    """What a step had to do, counted."""

    sequences: int = 0
    tokens: int = 0
    prompt: int = 0  # of them
    positions: int = 0  # whose keys and values it read
    pairs: int = 0  # a token and a position that it looks at
    chosen: int = 0  # rows of logits
    seconds: float = 0.0

    def add(self, before: int, count: int) -> None:
        """`count` tokens of a sequence that had `before`."""
        self.sequences += 1
        self.tokens += count
        self.positions += before + count
        self.pairs += count * before + count * (count + 1) // 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step reads and multiplies, by its tokens, its context and the tokens that it chooses."""

    weight_bytes: int  # of every matrix that a step multiplies with, as the runner holds them
    position_bytes: float  # keys and values of one token of context
    token: int  # multiply-adds of one token, without attention and head
    pair: int  # of one token looking at one position
    head: int  # of one row of logits
    quantised: bool  # most products are of bytes

    def step(self, work: Sequence[Work], chosen: int) -> tuple[float, float]:
        """(bytes, multiply-adds) of a step; `chosen` rows of logits. Called before the sequences advance."""
        load = Load(chosen=chosen)
        for item in work:
            load.add(item.seq.computed, item.count)
        return self.of(load)

    def of(self, load: Load) -> tuple[float, float]:
        """(bytes, multiply-adds)."""
        return (
            self.weight_bytes + self.position_bytes * load.positions,
            self.token * load.tokens + self.pair * load.pairs + self.head * load.chosen,
        )


def cost_of(runner: Any, model: CausalModel) -> Cost:
    """Of a runner's own plan where it has one (native), else of the module's matrices."""
    from idiolect.nn import Linear

    cache = runner.cache
    position = cache.bytes / (cache.pages * cache.page_size)
    plan = getattr(runner, "plan", None)
    if plan is not None:
        return _planned(plan, position, runner.weight_bytes)
    config: Any = model.config
    matrices = [m.inputs * m.outputs for m in model.modules() if isinstance(m, Linear)]
    width = int(getattr(config, "dim", 0) or getattr(config, "width", 0))
    head = int(config.vocab) * width
    body = sum(matrices) - (head if head in matrices else 0)  # an untied head is one of them
    heads = int(getattr(config, "heads", 0))
    dim = int(getattr(config, "head_dim", 0)) or width // max(1, heads)
    pair = 2 * len(model.state_specs()) * heads * dim
    weight_bytes = getattr(runner, "weight_bytes", None) or (body + head) * model.dtype.itemsize
    return Cost(weight_bytes, position, body, pair, head, quantised=False)


def _planned(plan: Any, position: float, weight_bytes: int) -> Cost:
    from idiolect.native.library import ATTEND, BF16, LINEAR

    token = pair = head = bytes_of_codes = 0
    for op in plan.ops:
        numbers = op.numbers
        if numbers["kind"] == LINEAR:
            work = numbers["n"] * numbers["k"]
            bytes_of_codes += work if numbers["wkind"] < BF16 else 0
            if numbers.get("rows"):
                head += work
            else:
                token += work
        elif numbers["kind"] == ATTEND:
            pair += 2 * numbers["heads"] * numbers["dim"]
    return Cost(weight_bytes, position, token, pair, head, quantised=2 * bytes_of_codes > token + head)


@dataclass(slots=True)
class Recent:
    """Rates over the last steps, per second of computing (waiting for requests is not counted)."""

    seconds: float = 0.0
    tokens: float = 0.0  # generated, a second
    prefilled: float = 0.0  # prompt tokens computed, a second
    bytes: float = 0.0  # a second
    multiply_adds: float = 0.0  # a second
    sequences: float = 0.0  # in a step, on average


class Meter:
    """Sums over the last `RECENT` steps, kept as they come: constant work a step."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._steps: deque[tuple[float, ...]] = deque()
        self._sums = [0.0] * 6

    def step(self, stats: EngineStats, load: Load) -> None:
        """Count a step into `stats` and here."""
        read, multiplied = self.cost.of(load)
        stats.bytes_read += read
        stats.multiply_adds += multiplied
        stats.sequence_steps += load.sequences
        self._add(load.seconds, load.chosen, load.prompt, read, multiplied, load.sequences)

    def _add(self, *row: float) -> None:
        """(seconds, tokens chosen, prompt tokens, bytes, multiply-adds, sequences) of a step."""
        self._steps.append(row)
        for i, value in enumerate(row):
            self._sums[i] += value
        if len(self._steps) > RECENT:
            for i, value in enumerate(self._steps.popleft()):
                self._sums[i] -= value

    def recent(self) -> Recent:
        seconds, tokens, prefilled, read, work, sequences = self._sums
        if not self._steps or seconds <= 0:
            return Recent()
        return Recent(
            seconds, tokens / seconds, prefilled / seconds, read / seconds, work / seconds, sequences / len(self._steps)
        )
