"""What a step frees stays with the process until the run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from idiolect.train import heap

FAULTS = """
import resource, sys
sys.path.insert(0, {src!r})
import torch
from idiolect.train import heap
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    blocks = [torch.ones(1 << 20) for _ in range(16)]  # 64 MB
    del blocks
def steps():
    step()
    before = faults()
    for _ in range(4):
        step()
    return faults() - before
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
with heap.kept() as kept:
    assert kept
    inside, held = steps(), resident()
print(inside, held - resident())
"""


@pytest.mark.skipif(heap.glibc() is None, reason="the C library is not GNU's")
def test_steps_fault_once_and_the_end_gives_back() -> None:
    src = str(Path(__file__).parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", FAULTS.format(src=src)], check=True, capture_output=True, text=True)
    faults, given = map(int, done.stdout.split())
    assert faults < 4 * (64 << 20) / 4096 / 4  # without the block it is all of them
    assert given > 48e6


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with heap.kept() as kept:
        assert not kept
