"""What runs in the next step: continuous batching with chunked prefill.

One step is one packed batch of at most `step_tokens` tokens. Every sequence that generates gets its one token first
(Yu et al. 2022, Orca, OSDI), then prompts are computed in chunks with what is left (Agrawal et al. 2024,
Sarathi-Serve, arXiv:2403.02310), so a long prompt never stops the others' streams.

Who goes first: first come, first served, inside two lanes (`generate` and `score`) that take turns. A lane that works
alone has the whole budget, else half each; inside a lane the oldest prompt has at least half of it and the others
share the rest, so a short prompt does not wait for a very long one. Memory follows age: a sequence may take pages
only from newer ones, which are then recomputed (preemption by recomputation). The oldest can therefore always run to
its end, and nobody waits for ever.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from idiolect.engine.config import EngineConfig
from idiolect.engine.kv import Slots
from idiolect.engine.pages import Pages
from idiolect.engine.prefix import WORTH, PrefixCache, closest
from idiolect.engine.sequence import Lane, Sequence

LANES: tuple[Lane, Lane] = ("generate", "score")
ROOM_TOKENS = 512  # how far ahead a sequence without a token limit is given room to grow
SCAN = 64  # waiting sequences of a lane that one step looks at


@dataclass(frozen=True, slots=True)
class Work:
    """`count` tokens of `seq` from position `seq.computed` on."""

    seq: Sequence
    count: int

    @property
    def completes(self) -> bool:
        """Whether the sequence has all its tokens computed after this step, and can choose the next one."""
        return self.count == self.seq.todo


class Scheduler:
    """Owns who waits, who runs, and the pages. Not thread-safe: the engine's step owns it."""

    def __init__(self, config: EngineConfig, cache: Slots, pages: Pages) -> None:
        self.config = config
        self.cache = cache
        self.pages = pages
        self.prefix = PrefixCache(pages, config.prefix_entries if config.prefix_cache else 0)
        self.waiting: dict[Lane, list[Sequence]] = {lane: [] for lane in LANES}  # by arrival
        self.running: list[Sequence] = []  # by arrival
        self.preemptions = 0
        self._turn = 0

    # -------------------------------------------------------------------------------------- coming and going

    def add(self, seq: Sequence) -> None:
        insort(self.waiting[seq.lane], seq, key=_age)

    def remove(self, seq: Sequence, *, keep: bool = False) -> None:
        """Forget a sequence and give its pages back (`keep`: to the prefix cache, which gives them back on demand)."""
        if seq in self.running:
            self.running.remove(seq)
        elif seq in self.waiting[seq.lane]:
            self.waiting[seq.lane].remove(seq)
        if keep:
            self.prefix.keep(seq)
        self.pages.release(seq.lease)

    def everyone(self) -> Iterator[Sequence]:
        yield from list(self.running)
        for lane in LANES:
            yield from list(self.waiting[lane])

    @property
    def idle(self) -> bool:
        return not self.running and not any(self.waiting.values())

    # -------------------------------------------------------------------------------------------- one step

    def plan(self) -> list[Work]:
        """The next step's work: decodes first, then prompt chunks. Empty only when nothing is there to do."""
        work: dict[Sequence, int] = {}
        for seq in list(self.running):
            if seq.decoding and seq in self.running and self._reach(seq, len(seq.tokens), work):
                work[seq] = 1
        self._turn ^= 1
        order = LANES[self._turn :] + LANES[: self._turn]
        budget = self.config.step_tokens - len(work)
        first = budget - budget // 2 if self._has_prompts(order[1]) else budget
        left = budget - self._fill(order[0], first, work)
        left -= self._fill(order[1], left, work)
        if left > 0 and first < budget:
            self._fill(order[0], left, work)
        return [Work(seq, count) for seq, count in work.items()]

    def _has_prompts(self, lane: Lane) -> bool:
        return bool(self.waiting[lane]) or any(s.lane == lane and not s.decoding for s in self.running)

    def _fill(self, lane: Lane, quota: int, work: dict[Sequence, int]) -> int:
        """Give prompt chunks of `lane` up to `quota` tokens in all; returns how many."""
        ceiling = sum(work.values()) + quota
        head = quota - quota // 2
        for seq in list(self.running):
            if seq.lane == lane and not seq.decoding:
                self._give(seq, min(head, ceiling - sum(work.values())), work)
                head = quota
        for seq in self.waiting[lane][:SCAN]:
            left = ceiling - sum(work.values())
            if left <= 0 or (lane == "generate" and self._generating() >= self.config.max_batch):
                break
            if self._defer(seq):
                continue
            if not self._start(seq, work):
                break  # first come, first served: nobody overtakes one that waits for memory
            self._give(seq, min(head, left), work)
            head = quota
        for seq in self.running:  # what nobody else wanted
            if seq.lane == lane and not seq.decoding:
                self._give(seq, ceiling - sum(work.values()), work)
        return quota - (ceiling - sum(work.values()))

    def _generating(self) -> int:
        return sum(s.lane == "generate" for s in self.running)

    @staticmethod
    def _give(seq: Sequence, most: int, work: dict[Sequence, int]) -> None:
        have = work.get(seq, 0)
        more = min(most, seq.todo - have)
        if more > 0:
            work[seq] = have + more

    def _defer(self, seq: Sequence) -> bool:
        """Whether to wait a step because a running sequence is just computing the beginning that this one needs."""
        if not self.config.prefix_cache:
            return False
        tokens = seq.array()
        busy = [s for s in self.running if not s.decoding]
        _, ready, coming = closest(tokens, busy)
        if coming < ready + WORTH:
            return False
        _, kept = self.prefix.find(tokens)
        _, there, _ = closest(tokens, [s for s in self.running if s.decoding])
        return coming >= max(ready, kept, there) + WORTH

    def _start(self, seq: Sequence, work: dict[Sequence, int]) -> bool:
        """Give a waiting sequence pages for all its tokens, and the beginning that somebody already has."""
        size = self.config.page_size
        need = -(-len(seq.tokens) // size)
        spare = 1 + sum(s.decoding for s in self.running)  # so that decoding does not preempt it at once
        older = [s for s in self.running if s.arrival < seq.arrival]
        if not self._make_room(seq, need + (spare if older else 0), work):
            return False
        grow = min(seq.limit - seq.generated, ROOM_TOKENS)
        self.pages.grow(seq.lease, need, room=-(-grow // size) if grow > 0 else 0)
        self.waiting[seq.lane].remove(seq)
        self._copy_beginning(seq)
        if seq.served is not None:
            seq.served.fill(seq, self.cache)
        insort(self.running, seq, key=_age)
        return True

    def _copy_beginning(self, seq: Sequence) -> None:
        if not self.config.prefix_cache:
            return
        tokens = seq.array()
        live, ready, _ = closest(tokens, self.running)
        kept, past = self.prefix.find(tokens)
        useful = len(tokens) - 1 if seq.lane == "generate" else seq.score_start - 1
        n = min(max(ready, past), useful)
        if n < WORTH:
            return
        if kept is not None and past >= ready:
            self.prefix.touch(kept)
            source = kept.lease
        else:
            assert live is not None
            source = live.lease
        self.cache.copy(self.cache.slots(source, 0, n), self.cache.slots(seq.lease, 0, n))
        seq.computed = n
        seq.cached = max(seq.cached, n)

    # ---------------------------------------------------------------------------------------------- memory

    def _reach(self, seq: Sequence, tokens: int, work: dict[Sequence, int]) -> bool:
        """Make sure that a running sequence has pages for `tokens` tokens; preempts it when that cannot be."""
        need = -(-tokens // self.config.page_size) - len(seq.lease)
        if need <= 0:
            return True
        if self._make_room(seq, need, work):
            return self.pages.grow(seq.lease, need)
        self.preempt(seq, work)
        return False

    def _make_room(self, seq: Sequence, pages: int, work: dict[Sequence, int]) -> bool:
        """Free `pages` pages for `seq` at the cost of the prefix cache, then of newer sequences, newest first."""
        newer = [s for s in self.running if s.arrival > seq.arrival]
        possible = self.pages.free + self.prefix.reclaimable + sum(len(s.lease) for s in newer)
        if possible < pages:
            return False
        while not self.prefix.evict(pages):
            self.preempt(newer.pop(), work)
        return True

    def preempt(self, seq: Sequence, work: dict[Sequence, int]) -> None:
        """Take a running sequence's pages; it waits in its old place and is computed again."""
        work.pop(seq, None)
        self.running.remove(seq)
        self.pages.release(seq.lease)
        seq.computed = 0
        seq.metrics.preemptions += 1
        self.preemptions += 1
        self.add(seq)


def _age(seq: Sequence) -> int:
    return seq.arrival
