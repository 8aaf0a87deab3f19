"""The templates and expressions of task files: jinja2, sandboxed, every missing name an error that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    env.globals.clear()
    env.globals.update(range=range, letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    env.filters["sub"] = lambda text, pattern, new="": re.sub(pattern, new, str(text))
    env.filters["split"] = lambda text, at=None: str(text).split(at)
    env.filters["index"] = lambda items, value: list(items).index(value)
    return env


@cache
def _compiled(source: str, expression: bool) -> Any:
    env = _environment()
    return env.compile_expression(source, undefined_to_none=False) if expression else env.from_string(source)


def render(source: str, fields: Mapping[str, Any], where: str) -> str:
    """The text of a template over a document's fields. `BadInput` names `where` it stands and what is missing."""
    return str(_run(source, fields, where, False))


def evaluate(source: str, fields: Mapping[str, Any], where: str) -> Any:
    """The value of an expression."""
    found = _run(source, fields, where, True)
    return found


def _run(source: str, fields: Mapping[str, Any], where: str, expression: bool) -> Any:
    from jinja2 import Undefined
    from jinja2.exceptions import TemplateError, UndefinedError

    try:
        template = _compiled(source, expression)
        if not expression:
            return template.render(fields)
        value = template(**fields)
        if isinstance(value, Undefined):
            str(value)  # raises what is missing
        return value
    except UndefinedError as error:
        missing = re.search(r"'([^']*)' is undefined", str(error))
        hint = did_you_mean(missing[1], fields) if missing else "look at the record's fields"
        raise BadInput(f"{where}: {error}", hint=hint, param=where) from None
    except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise BadInput(f"{where}: {error}", hint=f"in {source[:60]!r}", param=where) from None
