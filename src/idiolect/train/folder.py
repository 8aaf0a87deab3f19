"""The folder of a run: what was asked (config.yaml), from what (lineage.json), what happened (metrics.jsonl), the
checkpoints, and what came of it (model or adapter, plots, report.html)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from idiolect.core import config
from idiolect.core.errors import BadInput
from idiolect.core.files import atomic_write, disk_error, lock
from idiolect.train.recipe import Recipe
from idiolect.train.watch import Record

METRICS = "metrics.jsonl"


class Folder:
    """One run's folder. Rows of metrics are appended whole; a row that was cut off by a crash is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    @contextmanager
    def opened(self, recipe: Recipe, resume: bool) -> Iterator[None]:
        """Hold the folder for this process. A folder that holds a run is `BadInput` unless `resume`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, self.path) from error
        with lock(self.path / ".lock", timeout=0):
            if self.rows() and not resume:
                raise BadInput(
                    f"{self.path} holds a run already", hint="go on with --resume, or give another folder with --out"
                )
            with atomic_write(self.path / "config.yaml", "w") as file:
                file.write(config.dump(recipe))
            yield

    def describe(self, lineage: Mapping[str, Any]) -> None:
        """Write lineage.json."""
        with atomic_write(self.path / "lineage.json", "w") as file:
            json.dump(lineage, file, indent=2, ensure_ascii=False)
            file.write("\n")

    def add(self, record: Record) -> None:
        """Append a row. A full disk is `Unavailable`; what was written before stays readable."""
        row = json.dumps({"kind": record.kind, "step": record.step, **record.figures})
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(row + "\n")
        except OSError as error:
            raise disk_error(error, self.path / METRICS) from error

    def rows(self) -> list[dict[str, Any]]:
        """Every whole row."""
        return read_metrics(self.path / METRICS)

    def rewind(self, step: int) -> None:
        """Forget what happened after `step`: the run goes on from there."""
        kept = [row for row in self.rows() if row["step"] <= step]
        with atomic_write(self.path / METRICS, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in kept)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; one that a crash cut off at the end is left out."""
    rows = []
    if path.exists():
        for line in path.read_text("utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "step" in row:
                rows.append(row)
    return rows
