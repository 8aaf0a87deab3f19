"""Programs that mean harm, each with the word that it prints if it got what it wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Hostile:
    """`program` prints `HARMED` only if the sandbox let it; what it does to the machine is looked at from outside."""

    name: str
    program: str


def programs(**places: str) -> list[Hostile]:
    """All of programs.txt: `=== name` before each. `places` fills {home}, {outside}, {socket}, {parent}, {canary}."""
    found = []
    for part in (HERE / "programs.txt").read_text("utf-8").split("=== ")[1:]:
        name, _, body = part.partition("\n")
        for place, value in places.items():
            body = body.replace("{" + place + "}", value)
        found.append(Hostile(name.strip(), body))
    return found
