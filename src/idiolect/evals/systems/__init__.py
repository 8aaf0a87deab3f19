"""What can be evaluated: a model on the engine, any handler, any server that speaks OpenAI's protocol, any search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.core import lazy

if TYPE_CHECKING:
    from idiolect.evals.systems.handler import HandlerSystem
    from idiolect.evals.systems.http import HttpSystem
    from idiolect.evals.systems.local import LocalConfig, LocalSystem
    from idiolect.evals.systems.search import SearchSystem

__all__ = ["HandlerSystem", "HttpSystem", "LocalConfig", "LocalSystem", "SearchSystem"]

_WHERE = {
    "HandlerSystem": "handler",
    "HttpSystem": "http",
    "LocalConfig": "local",
    "LocalSystem": "local",
    "SearchSystem": "search",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a list of tasks must not import torch."""
    return lazy.attribute(__name__, _WHERE, name)
