"""What a load found: percentiles of the latencies, throughput, goodput, and what the server says of itself.

- TTFT: from the scheduled arrival to the first piece of text.
- ITL: between one piece of text and the next, over all pieces of all requests.
- end to end: from the scheduled arrival to the last byte.
- tokens/s/user: a request's tokens after the first / the seconds they took.
- goodput: requests a second that ended without error with TTFT within the objective and a mean inter-token latency
  within it (Zhong et al., "DistServe", OSDI 2024).

Requests that failed count in `failed` and against the goodput, and their times are left out of the percentiles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from idiolect.evals.metrics.latency import Distribution, Slo, goodput, throughput
from idiolect.gateway.bench.drive import Driven

OURS = {  # our own metric -> its name here
    "idiolect_engine_pages_free": "pages free",
    "idiolect_engine_batch_occupancy": "batch occupancy",
    "idiolect_engine_prefix_hit_rate": "prefix cache hit rate",
    "idiolect_engine_mbu": "MBU",
    "idiolect_engine_mfu": "MFU",
}


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; `--json` prints these fields."""

    model: str
    requests: int
    failed: int
    seconds: float  # from the first arrival to the last end
    rate: float | None  # requests a second that were asked for, on average; None: all at once
    throughput: float  # answered requests a second
    goodput: float  # of them, those within the objective
    good_share: float
    slo: Slo
    tokens_per_second: float  # generated, of all requests together
    prompt_tokens: int
    tokens: int
    tokens_counted: bool  # by the server; else pieces were counted
    late: float  # seconds that sending was late, p99: this process's own fault, or --concurrency's
    ttft: Distribution | None
    itl: Distribution | None
    end_to_end: Distribution | None
    tokens_per_second_user: Distribution | None
    errors: dict[str, int] = field(default_factory=dict)
    server: dict[str, float] = field(default_factory=dict)


def report(driven: Driven, slo: Slo, model: str) -> Report:
    """Sum up a load."""
    answers = driven.answers
    well = [a for a in answers if not a.error]
    seconds = max(driven.seconds, 1e-9)
    good = sum(slo.met(a) for a in answers)
    span = max(a.at for a in answers)
    late = Distribution.of([a.started for a in answers])
    return Report(
        model,
        len(answers),
        len(answers) - len(well),
        seconds,
        (len(answers) - 1) / span if span > 0 else None,
        throughput(len(well), seconds),
        goodput(answers, seconds, slo),
        good / len(answers),
        slo,
        throughput(sum(a.tokens for a in well), seconds),
        sum(a.prompt_tokens for a in well),
        sum(a.tokens for a in well),
        bool(well) and all(a.counted for a in well),
        late.p99 if late else 0.0,
        Distribution.of([a.ttft for a in well if a.ttft is not None]),
        Distribution.of([gap for a in well for gap in a.gaps]),
        Distribution.of([a.end for a in well]),
        Distribution.of([1 / a.itl for a in well if a.itl]),
        dict(Counter(a.error for a in answers if a.error).most_common(5)),
        server_side(driven.after),
    )


def server_side(text: str | None) -> dict[str, float]:
    """What our own server says of its engine; nothing of others."""
    found = {}
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name in OURS:
            found[OURS[name]] = float(value)
    return found


def rows(found: Report) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the table of latencies."""
    table = []
    for name, scale, unit, dist in (
        ("TTFT", 1e3, "ms", found.ttft),
        ("ITL", 1e3, "ms", found.itl),
        ("end to end", 1e3, "ms", found.end_to_end),
        ("tokens/s/user", 1.0, "", found.tokens_per_second_user),
    ):
        if dist is not None:
            values = (dist.min, dist.p50, dist.p90, dist.p99, dist.max)
            table.append([name, *(f"{v * scale:.1f}" for v in values), f"{unit} (n={dist.n})".strip()])
    return ["", "min", "p50", "p90", "p99", "max", ""], table


def lines(found: Report) -> list[str]:
    """What stands beside the table."""
    counted = "" if found.tokens_counted else " (pieces of text: the server told no usage)"
    asked = "all at once" if found.rate is None else f"{found.rate:.2f} a second asked"
    said = [
        f"{found.requests} requests in {found.seconds:.1f} s ({asked}), {found.failed} failed",
        f"throughput  {found.throughput:.2f} requests/s, {found.tokens_per_second:.1f} tokens/s{counted}",
        f"goodput     {found.goodput:.2f} requests/s ({100 * found.good_share:.0f} % of them: TTFT <= "
        f"{found.slo.ttft:g} s and mean ITL <= {found.slo.itl:g} s)",
        f"sent late   {1e3 * found.late:.1f} ms at p99 (counted in every latency)",
    ]
    if found.server:
        said.append("the server  " + ", ".join(f"{name} {value:.3g}" for name, value in found.server.items()))
    said += [f"error       {count} x {text}" for text, count in found.errors.items()]
    return said
