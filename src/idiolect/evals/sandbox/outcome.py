"""What a run program may use, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from idiolect.core.errors import BadInput

Status = Literal["passed", "failed", "timeout", "output", "killed"]


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` of wall time, `memory` bytes of all its mappings, `output` bytes on stdout and stderr together, `files`
    that may be open at once. There is one process, no network, and nothing to write to: those are not for choice."""

    seconds: float = 5.0
    memory: int = 512 << 20
    output: int = 64 << 10
    files: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 3600:
            raise BadInput(f"seconds is {self.seconds}", hint="give a time above 0, at most 3600", param="seconds")
        if self.memory < 32 << 20:
            raise BadInput(f"memory is {self.memory} bytes", hint="Python itself needs 32 MB", param="memory")
        if self.output < 1 or self.files < 8:
            raise BadInput("output and files must be at least 1 and 8", hint="raise them", param="output")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`passed`: the program ran to its last line. `failed`: it raised, or ended itself before. `timeout`, `output`: it
    hit that limit. `killed`: a signal ended it, as one does that takes too much memory. `output` is what it printed, up
    to the limit."""

    status: Status
    seconds: float
    output: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"
