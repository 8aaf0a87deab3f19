"""The recipes that come with the package, without what it takes to run one (no torch)."""

from __future__ import annotations

from pathlib import Path

from idiolect.core import yamls

PACKAGED = Path(__file__).parents[1] / "recipes"


def packaged() -> dict[str, str]:
    """name -> summary."""
    found = {}
    for path in sorted(PACKAGED.glob("*.yaml")):
        found[path.stem] = str(yamls.parse(path.read_text("utf-8"), path.name).get("summary", ""))
    return found
