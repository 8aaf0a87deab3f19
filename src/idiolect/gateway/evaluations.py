"""What the page shows of evaluations: runs, two runs item by item, and the arena. Plain data, read from the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from idiolect.core.canonical import plain
from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean
from idiolect.core.store import Store
from idiolect.evals import arena
from idiolect.evals.runs import records
from idiolect.evals.runs.summary import groups
from idiolect.evals.stats import paired
from idiolect.evals.types import (
    Choose,
    Chosen,
    Failed,
    Found,
    Generate,
    Generated,
    Graded,
    Reply,
    Request,
    Roll,
    Rolled,
)

LONGEST = 20_000  # characters of a text that are shown


def latest(store: Store, limit: int) -> list[dict[str, Any]]:
    return [_run(line) for line in records.runs(store, limit)]


def _run(line: records.RunLine) -> dict[str, Any]:
    done = line.done
    return {
        "id": line.id,
        "started": line.started,
        "system": line.system,
        "task": line.task,
        "hash": line.hash,
        "items": line.items,
        "metrics": [dict(metric) for metric in line.metrics],
        "done": done is not None,
        "seconds": done["seconds"] if done else None,
        "cached": done["cached"] if done else None,
        "failed": done["failed"] if done else None,
        "figures": _numbers(done["figures"]) if done else {},
    }


def one(store: Store, id: str, offset: int, limit: int) -> dict[str, Any]:
    """A run and a page of its items."""
    line = records.run(store, id)
    rows = list(records.rows(store, line.id))
    page = [_question(row) | {"a": _answer(row)} for row in rows[offset : offset + limit]]
    named = _single(line, rows)
    return {"run": _run(line), "metric": named[0] if named else "", "total": len(rows), "rows": page}


def _single(line: records.RunLine, rows: list[Graded]) -> list[str]:
    """The metrics that an item alone has, the headline first."""
    names = [str(metric["name"]) for metric in line.metrics]
    return [name for name in names if any(name in row.grade for row in rows)]


# --------------------------------------------------------------------------------------------------- side by side

Test = Callable[[float, float], bool]
FILTERS: dict[str, Test] = {
    "all": lambda a, b: True,
    "a": lambda a, b: a > b,
    "b": lambda a, b: b > a,
    "right": lambda a, b: a == b == 1,
    "wrong": lambda a, b: a == b == 0,
}


def compare(
    store: Store, a: str, b: str, metric: str = "", show: str = "all", offset: int = 0, limit: int = 50
) -> dict[str, Any]:
    """Two runs of one task on the items that both scored: the paired difference, how many items each filter holds, and
    a page of them. "a": A's grade is the better one; "right" and "wrong": both have 1, both have 0."""
    first, second = records.run(store, a), records.run(store, b)
    if first.hash != second.hash:
        raise BadInput(
            f"the runs are of different tasks ({first.task}, {second.task})", hint="compare runs of one task"
        )
    named = {str(m["name"]): m for m in first.metrics}
    ours = list(records.rows(store, first.id))
    theirs = {row.item.id: row for row in records.rows(store, second.id)}
    single = _single(first, ours)
    if not single:
        raise BadInput(f"{first.task} has no figure for a single item", hint="its figures are of the whole only")
    metric = metric or single[0]
    if metric not in single:
        raise BadInput(f"there is no metric {metric[:40]!r}", hint=did_you_mean(metric, single), param="metric")
    if show not in FILTERS:
        raise BadInput(f"there is no filter {show[:40]!r}", hint=f"give {', '.join(FILTERS)}", param="show")
    sign = 1.0 if named[metric]["higher_is_better"] else -1.0
    both = [(row, theirs[row.item.id]) for row in ours if row.item.id in theirs and not row.failed]
    both = [(x, y) for x, y in both if not y.failed and not math.isnan(_value(x, metric) + _value(y, metric))]
    if not both:
        raise BadInput("the runs have no scored item in common", hint="run both on the same items")
    values = [(_value(x, metric), _value(y, metric)) for x, y in both]
    found = paired([x for x, _ in values], [y for _, y in values], groups=groups([x for x, _ in both]))
    counts = {name: sum(_holds(name, x, y, sign) for x, y in values) for name in FILTERS}
    chosen = [pair for pair, (x, y) in zip(both, values, strict=True) if _holds(show, x, y, sign)]
    page = [_question(x) | {"a": _answer(x), "b": _answer(y)} for x, y in chosen[offset : offset + limit]]
    return {
        "a": _run(first),
        "b": _run(second),
        "metric": metric,
        "metrics": single,
        "difference": _numbers(plain(found.estimate))
        | {"p": _finite(found.p), "clear": found.clear, "differ": found.differ},
        "counts": counts,
        "total": len(chosen),
        "rows": page,
    }


def _holds(name: str, a: float, b: float, sign: float) -> bool:
    return FILTERS[name](a, b) if name in ("right", "wrong") else FILTERS[name](sign * a, sign * b)


def _value(row: Graded, metric: str) -> float:
    return row.grade.get(metric, math.nan)


# ---------------------------------------------------------------------------------------------------------- arena


def blind(pair: arena.Pair, left: Graded, right: Graded) -> dict[str, Any]:
    """A pair as the one who chooses sees it: nothing says whose answer it is."""
    return {
        "pair": pair.id,
        "task": pair.task,
        **_question(left),
        "left": _reply(left.reply)["text"],
        "right": _reply(right.reply)["text"],
    }


def standings(store: Store) -> dict[str, Any]:
    found = arena.choices(store)
    ranking = arena.standings(found)
    if ranking is None:
        return {"choices": 0, "left": None, "rows": []}
    best, elo, left = ranking
    rows = [
        {
            "system": row.name,
            "rating": row.rating,
            "low": row.low,
            "high": row.high,
            "matches": row.matches,
            "first": row.first,
            "last": row.last,
            "elo": elo[row.name].value,
        }
        for row in best.rows
    ]
    return {"choices": len(found), "left": left, "rows": rows}


# ---------------------------------------------------------------------------------------------------------- items


def _question(row: Graded) -> dict[str, Any]:
    item = row.item
    options = list(item.request.options) if isinstance(item.request, Choose) else []
    target = item.target
    if isinstance(target, int) and options:
        shown = options[target].strip() if 0 <= target < len(options) else str(target)
    else:
        shown = target if isinstance(target, str) else ""
    return {"item": item.id, "question": _cut(asked(item.request)), "options": options, "target": _cut(shown)}


def asked(request: Request) -> str:
    """The words of a request."""
    match request:
        case Choose(context=context):
            said: Any = context
        case Generate(messages=messages, prompt=prompt):
            said = messages if prompt is None else prompt
        case Roll(text=text):
            said = text
        case _:
            said = request.query
    if isinstance(said, str):
        return said
    return "\n\n".join(m.content if m.role == "user" and len(said) == 1 else f"{m.role}: {m.content}" for m in said)


def _answer(row: Graded) -> dict[str, Any]:
    shown = {name: _finite(value) for name, value in row.grade.items() if not name.startswith("_")}
    options = row.item.request.options if isinstance(row.item.request, Choose) else ()
    return _reply(row.reply, options) | {"grade": shown}


def _reply(reply: Reply, options: tuple[str, ...] = ()) -> dict[str, Any]:
    match reply:
        case Generated(text=text):
            return {"kind": "generated", "text": _cut(text)}
        case Chosen():
            best = options[reply.best].strip() if options else str(reply.best)
            return {
                "kind": "chosen",
                "text": best,
                "best": reply.best,
                "logprobs": [_finite(v) for v in reply.logprobs],
            }
        case Rolled():
            return {"kind": "rolled", "text": f"{reply.logprob:.2f} over {reply.tokens} tokens"}
        case Found():
            return {"kind": "found", "text": ", ".join(reply.ids[:10])}
        case Failed():
            return {"kind": "failed", "text": reply.error}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _numbers(value: Any) -> Any:
    """Plain data without what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(k): _numbers(v) for k, v in value.items()}
    return _finite(value) if isinstance(value, float) else value
