"""Run by two processes (tests/train/test_parallel.py): small runs of every kind of sharding, one after another."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from idiolect.train.recipe import load
from idiolect.train.running import run


def main(text: str, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = {}
    for case in json.loads((out / "cases.json").read_text()):
        for steps, resume in (
            ((case["stop"], False), (case["steps"], True)) if case["stop"] else ((case["steps"], False),)
        ):
            changes = [f"data.train=[{text}]", f"out={out / case['name']}", f"train.steps={steps}", *case["changes"]]
            result = run(load(case["recipe"], preset="tiny", changes=changes), resume=resume)
        found[case["name"]] = {"validation": result.outcome.validation, "figures": result.figures}
    if dist.get_rank() == 0:
        (out / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
