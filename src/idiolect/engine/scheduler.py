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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from idiolect.engine.config import EngineConfig
from idiolect.engine.kv import Slots
from idiolect.engine.pages import Pages
from idiolect.engine.prefix import WORTH, Found, PrefixCache, closest
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
        self.prefix = PrefixCache(pages, config.page_size, on=config.prefix_cache)
        self.waiting: dict[Lane, list[Sequence]] = {lane: [] for lane in LANES}  # by arrival
        self.running: list[Sequence] = []  # by arrival
        self.preemptions = 0
        self._turn = 0
        self._steady: list[Work] | None = None  # the last plan, where everybody decoded and nobody came or went since

    # -------------------------------------------------------------------------------------- coming and going

    def add(self, seq: Sequence) -> None:
        insort(self.waiting[seq.lane], seq, key=_age)

    def remove(self, seq: Sequence, *, keep: bool = False) -> None:
        """Forget a sequence and give its pages back (`keep`: the end of its tokens is worth finding again)."""
        if seq in self.running:
            self.running.remove(seq)
            self._steady = None
        elif seq in self.waiting[seq.lane]:
            self.waiting[seq.lane].remove(seq)
        if keep:
            self.prefix.publish(seq, end=True)
        self.prefix.release(seq.lease)

    def computed(self, seq: Sequence, completes: bool) -> None:
        """A step has computed something of a sequence (`completes`: all of it): others may start from that."""
        self.prefix.publish(seq, end=completes and not seq.generated)

    def everyone(self) -> Iterator[Sequence]:
        yield from list(self.running)
        for lane in LANES:
            yield from list(self.waiting[lane])

    @property
    def idle(self) -> bool:
        return not self.running and not any(self.waiting.values())

    # -------------------------------------------------------------------------------------------- one step

    def plan(self) -> list[Work]:
        """The next step's work: decodes first, then prompt chunks. Empty only when nothing is there to do. The same
        list as last time when nothing but the tokens has changed."""
        if (same := self._again()) is not None:
            return same
        work: dict[Sequence, int] = {}
        for seq in list(self.running):
            if seq.decoding and seq in self.running and self._reach(seq, len(seq.tokens), work):
                work[seq] = 1
        self._turn ^= 1
        if len(work) == len(self.running) and not any(self.waiting.values()):
            self._steady = [Work(seq, 1) for seq in work]  # everybody decodes: nothing is left to hand out
            return self._steady
        order = LANES[self._turn :] + LANES[: self._turn]
        budget = self.config.step_tokens - len(work)
        first = budget - budget // 2 if self._has_prompts(order[1]) else budget
        left = budget - self._fill(order[0], first, work)
        left -= self._fill(order[1], left, work)
        if left > 0 and first < budget:
            self._fill(order[0], left, work)
        return [Work(seq, count) for seq, count in work.items()]

    def _again(self) -> list[Work] | None:
        """The last plan once more, with memory for its next tokens; None when somebody came, went or gave up memory."""
        steady, size = self._steady, self.config.page_size
        if not steady or self.waiting["generate"] or self.waiting["score"]:
            return None
        for item in steady:
            seq = item.seq
            if len(seq.tokens) > len(seq.lease.pages) * size:
                self._reach(seq, len(seq.tokens), {})
                if self._steady is None:
                    return None
        self._turn ^= 1
        return steady

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
        ready, coming = closest(seq, (s for s in self.running if not s.decoding))
        if coming < ready + WORTH:
            return False
        found = self.prefix.find(seq, self._useful(seq))
        return coming >= max(ready, len(found.pages) * self.config.page_size + found.extra) + WORTH

    @staticmethod
    def _useful(seq: Sequence) -> int:
        """How many tokens of a beginning may be taken over: whatever is asked for must still be computed."""
        return len(seq.tokens) - 1 if seq.lane == "generate" else seq.score_start - 1

    def _start(self, seq: Sequence, work: dict[Sequence, int]) -> bool:
        """Give a waiting sequence pages for all its tokens, and the beginning that is in memory already."""
        found = self.prefix.find(seq, self._useful(seq))
        if self.cache.shares and (found.pages or found.extra):
            started = self._share(seq, found, work)
        else:
            started = self._copy(seq, work)
        if started:
            self._steady = None
            self.waiting[seq.lane].remove(seq)
            seq.cached = max(seq.cached, seq.computed)
            if seq.served is not None:
                seq.served.fill(seq, self.cache)
            insort(self.running, seq, key=_age)
        return started

    def _share(self, seq: Sequence, found: Found, work: dict[Sequence, int]) -> bool:
        """Hold the pages of the beginning together with others, and copy the one in which they part. In a memory that
        is as small as the sequence, that page has to be taken instead of copied, and its tokens computed."""
        size, lease = self.config.page_size, seq.lease
        tail = [] if found.tail is None else [found.tail]
        self.prefix.hold([*found.pages, *tail])
        new = self._need(seq, work, len(found.pages))
        if new is None and tail:
            self.prefix.drop(tail)
            tail = []
            new = self._need(seq, work, len(found.pages))
        if new is None:
            self.prefix.drop([*found.pages, *tail])
            return False
        lease.pages = list(found.pages)
        lease.contiguous = False
        self.pages.grow(lease, new)
        whole = len(found.pages) * size
        seq.published = len(found.pages)
        seq.computed = whole + (found.extra if tail else 0)
        if tail:
            source = range(tail[0] * size, tail[0] * size + found.extra)
            self.cache.copy(source, self.cache.slots(lease, whole, seq.computed))
            self.prefix.drop(tail)
        return True

    def _copy(self, seq: Sequence, work: dict[Sequence, int]) -> bool:
        """Pages of its own, in a row if there is one, with a copy of the beginning."""
        size, lease = self.config.page_size, seq.lease
        new = self._need(seq, work, 0)
        if new is None:
            return False
        grow = min(seq.limit - seq.generated, ROOM_TOKENS)
        self.pages.grow(lease, new, room=-(-grow // size) if grow > 0 else 0)
        found = self.prefix.find(seq, self._useful(seq))  # what is left of it
        n = len(found.pages) * size
        source = [page * size + i for page in found.pages for i in range(size)]
        if found.tail is not None:
            source += range(found.tail * size, found.tail * size + found.extra)
            n += found.extra
        if n:
            self.cache.copy(source, self.cache.slots(lease, 0, n))
            seq.computed = n
        return True

    def _need(self, seq: Sequence, work: dict[Sequence, int], have: int) -> int | None:
        """How many pages a waiting sequence needs besides the `have` that it shares, once they are free; None when they
        cannot be."""
        need = -(-len(seq.tokens) // self.config.page_size) - have
        spare = 1 + sum(s.decoding for s in self.running)  # so that decoding does not preempt it at once
        older = any(s.arrival < seq.arrival for s in self.running)
        return need if self._make_room(seq, need + (spare if older else 0), work) else None

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
        possible = self.pages.free + self.prefix.reclaimable
        if possible < pages:  # what newer sequences hold and nobody else
            held = Counter(page for s in newer for page in s.lease.pages)
            possible += sum(self.pages.holders(page) == n for page, n in held.items())
        if possible < pages:
            return False
        while not self.prefix.evict(pages):
            self.preempt(newer.pop(), work)
        return True

    def preempt(self, seq: Sequence, work: dict[Sequence, int]) -> None:
        """Take a running sequence's pages; it waits in its old place and is computed again."""
        work.pop(seq, None)
        self._steady = None
        self.running.remove(seq)
        self.prefix.release(seq.lease)
        seq.computed = seq.published = 0
        seq.metrics.preemptions += 1
        self.preemptions += 1
        self.add(seq)


def _age(seq: Sequence) -> int:
    return seq.arrival
