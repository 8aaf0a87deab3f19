"""Runs a load: every request is sent at its own time, whether or not those before it were answered.

The loop is open (Schroeder et al., "Open versus closed: a cautionary tale", NSDI 2006): a slow server does not slow
down who asks it. Latencies count from the scheduled arrival, so a request that could not be sent in time, because
`concurrency` was reached or this process was late, shows it (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from idiolect.core.progress import Sink, progress
from idiolect.gateway.bench.plan import Plan
from idiolect.gateway.bench.target import Answer, Target


@dataclass(slots=True)
class Driven:
    """All answers in the order of their arrival, seconds from the first arrival to the last end, and the server's
    metrics before and after, where it has any."""

    answers: list[Answer]
    seconds: float
    before: str | None = None
    after: str | None = None


async def drive(target: Target, plan: Plan, *, concurrency: int | None = None, sink: Sink | None = None) -> Driven:
    """Ask the warm-up's requests, then the load. `concurrency`: the most that may be under way (None: no limit)."""
    for asked in plan.warmup:
        await target.ask(asked, time.perf_counter() - asked.at)
    places = asyncio.Semaphore(concurrency) if concurrency else None
    before = await target.metrics()
    total = len(plan.requests)
    with progress("asking", total, "requests", sink) as bar:
        begin = time.perf_counter()
        running = failed = 0

        async def one(index: int) -> Answer:
            nonlocal running, failed
            asked = plan.requests[index]
            await asyncio.sleep(max(0.0, begin + asked.at - time.perf_counter()))
            if places is None:
                return await counted(index)
            async with places:
                return await counted(index)

        async def counted(index: int) -> Answer:
            nonlocal running, failed
            running += 1
            bar.update(note=f"{running} under way, {failed} failed")
            answer = await target.ask(plan.requests[index], begin)
            running -= 1
            failed += bool(answer.error)
            bar.note = f"{running} under way, {failed} failed"
            bar.advance()
            return answer

        answers = await asyncio.gather(*(one(i) for i in range(total)))
        seconds = max(a.at + a.end for a in answers)
    return Driven(list(answers), seconds, before, await target.metrics())
