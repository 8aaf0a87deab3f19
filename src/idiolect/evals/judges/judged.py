"""A number that a judge gave cannot be shown without how far that judge can be trusted.

`Judged` has no attribute for its value, is no number and cannot become one: printing, formatting, writing it as data
and computing with it all keep the validity beside the value.

    score = await pointwise(judge, items, rubric, labels=labels)
    print(score.mean)                       # value, interval, and the judge's validity
    score.mean.map(lambda e: e.value / 5)   # another `Judged`, of the same judge
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from idiolect.core.canonical import plain
from idiolect.evals.stats.agreement import Agreement
from idiolect.evals.stats.estimate import Estimate

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Validity:
    """What is known of a judge's verdicts: how many were asked for, how many could not be read, how many were read from
    log-probabilities. `consistency` is the share of pairs that got the same verdict with the order swapped;
    `agreement` is with labels that people gave. None: not measured, which is said too."""

    judge: str
    n: int
    unparsable: int
    from_logprobs: int = 0
    consistency: Estimate | None = None
    agreement: Agreement | None = None

    def __str__(self) -> str:
        parts = [f"judge {self.judge}", f"{self.unparsable} of {self.n} unparsable"]
        if self.from_logprobs:
            parts.append(f"{self.from_logprobs} from log-probabilities")
        parts.append(f"swap-consistent {self.consistency}" if self.consistency else "order not swapped")
        if self.agreement:
            parts.append(f"agrees with labels {self.agreement.raw}, kappa {self.agreement.kappa}")
        else:
            parts.append("no labels to agree with")
        return "; ".join(parts)


class Judged(Generic[T]):
    """A value of any type (an `Estimate`, a `Ranking`, a difference) with the validity of the judges behind it."""

    __slots__ = ("__validities", "__value")

    def __init__(self, value: T, *validities: Validity) -> None:
        if not validities:
            raise TypeError("a judged value needs the validity of its judge")
        self.__value = value
        self.__validities = tuple(dict.fromkeys(validities))

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Judged cannot be subclassed: a subclass could print the value alone")

    @property
    def validity(self) -> tuple[Validity, ...]:
        """One for each judging that the value rests on."""
        return self.__validities

    def map(self, function: Callable[[T], U]) -> Judged[U]:
        """Compute with the value; the result is as valid as it."""
        return Judged(function(self.__value), *self.__validities)

    def join(self, other: Judged[U], function: Callable[[T, U], V]) -> Judged[V]:
        """Compute with two values; the result rests on the judges of both."""
        return Judged(function(self.__value, other.__value), *self.__validities, *other.__validities)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `value` beside `validity`."""
        return {"value": _data(self.__value), "validity": [_data(v) for v in self.__validities]}

    def __format__(self, spec: str) -> str:
        return f"{_spelled(self.__value, spec)} ({' | '.join(map(str, self.__validities))})"

    def __str__(self) -> str:
        return format(self, "")

    def __repr__(self) -> str:
        return f"<judged {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Judged):
            return NotImplemented
        return bool(self.__value == other.__value) and self.__validities == other.__validities

    __hash__ = None  # type: ignore[assignment]


def _spelled(value: Any, spec: str) -> str:
    if isinstance(value, Estimate) and spec and value.bounded:
        return f"{value.value:{spec}} [{value.low:{spec}}, {value.high:{spec}}] (n={value.n})"
    return format(value, spec) if isinstance(value, int | float) else str(value)


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _data(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_data(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return _data(plain(value))
