"""What every verifiable instruction is: a function of the response and the instruction's own arguments.

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (arXiv:2311.07911), names 25 kinds. A
file of this package holds one family of them; each registers under the name that the data set uses. Where the paper's
words leave room (what a bullet is, how a paragraph is divided) the reading is that of the published checkers, since
scores are only comparable under one reading; benchmarks/ifeval_checks.py counts where we differ.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.core.registry import Registry

Instruction = Callable[..., bool]
"""Whether a response follows one instruction: `(response, /, *, arguments of the data set's kwargs)`."""

INSTRUCTIONS: Registry[Instruction] = Registry("instruction")


def follows(name: str, response: str, arguments: Mapping[str, Any]) -> bool:
    """Whether `response` follows the instruction `name`. An empty response follows none. `None` values in `arguments`
    count as absent (the data set's table has a column for every argument of every kind).

    `NotFound`: no such instruction; `BadInput`: its arguments are missing or wrong.
    """
    check = INSTRUCTIONS.get(name)
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        inspect.signature(check).bind(response, **given)
    except TypeError as error:
        raise BadInput(f"instruction {name!r}: {error}", hint="its kwargs are not those of IFEval") from None
    return bool(response.strip()) and check(response, **given)


def related(count: int, relation: str, bound: int) -> bool:
    """`count` against `bound`: the data set knows "less than" and "at least"."""
    if relation == "less than":
        return count < bound
    if relation == "at least":
        return count >= bound
    raise BadInput(f"relation is {relation!r}", hint="use 'less than' or 'at least'", param="relation")
