"""Registry, names, random streams, progress."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.core.errors import NotFound
from idiolect.core.names import nearest
from idiolect.core.progress import Report, progress
from idiolect.core.registry import Registry
from idiolect.core.rng import Streams

names = st.lists(st.text(max_size=8) | st.integers(), min_size=1, max_size=3).map(tuple)


def test_registry() -> None:
    parts: Registry[object] = Registry("chunker")

    @parts.register("recursive")
    class Recursive:
        """Cuts at structure.

        More."""

    assert parts.get("recursive") is Recursive
    assert parts.describe("recursive") == "Cuts at structure."
    assert parts.names() == list(parts) == ["recursive"]
    with pytest.raises(NotFound, match="no chunker 'recursiv'.*'recursive'"):
        parts.get("recursiv")
    with pytest.raises(ValueError, match="twice"):
        parts.register("recursive")(object())


def test_nearest_ignores_case_and_dashes() -> None:
    assert nearest("Max-Batch", ["max_batch", "min_p"]) == "max_batch"
    assert nearest("zzz", ["max_batch"]) is None


@given(st.integers(), st.lists(names, min_size=2, max_size=6, unique=True), st.randoms())
def test_streams_do_not_depend_on_order(
    seed: int, all_names: list[tuple[str | int, ...]], shuffle: random.Random
) -> None:
    streams = Streams(seed)
    first = {n: (streams.integer(*n), streams.numpy(*n).random()) for n in all_names}
    shuffle.shuffle(all_names)
    again = Streams(seed)
    assert {n: (again.integer(*n), again.numpy(*n).random()) for n in all_names} == first
    assert len({value for value, _ in first.values()}) == len(first)  # distinct names, distinct streams


def test_streams_keep_names_apart() -> None:
    s = Streams(1)
    all_of_them = [s.integer(1), s.integer("1"), s.integer("a", "bc"), s.integer("ab", "c"), s.integer("abc")]
    assert len(set(all_of_them)) == 5
    assert s.child("a").integer("b") == s.integer("a", "b")
    assert Streams(2).integer(1) != s.integer(1)


def test_torch_streams_repeat() -> None:
    torch = pytest.importorskip("torch")
    a, b = Streams(3).torch("x"), Streams(3).torch("x")
    assert torch.equal(torch.rand(4, generator=a), torch.rand(4, generator=b))


def test_streams_are_equal_in_another_process() -> None:
    code = "from idiolect.core.rng import Streams; print(Streams(5).integer('a', 1))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == Streams(5).integer("a", 1)


def test_progress_reports_to_a_sink() -> None:
    seen: list[Report] = []
    with progress("index", total=3, unit="files", sink=seen.append) as bar:
        bar.advance()
        bar.update(total=4, note="a.md")
    assert [r.done for r in seen] == [0, 1, 1, 1]
    assert (seen[-1].total, seen[-1].note, seen[-1].finished) == (4, "a.md", True)
    assert sum(r.finished for r in seen) == 1


def test_progress_ends_on_an_error_too() -> None:
    seen: list[Report] = []
    with pytest.raises(RuntimeError), progress("x", sink=seen.append):
        raise RuntimeError
    assert seen[-1].finished


def test_progress_is_silent_in_a_pipe() -> None:
    code = "from idiolect.core.progress import progress\nwith progress('x', 2) as p: p.advance()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout + done.stderr == b""


def test_progress_draws_on_a_terminal() -> None:
    pty = pytest.importorskip("pty")
    code = (
        "import time\nfrom idiolect.core.progress import progress\n"
        "with progress('weighing', 3000, 'B') as a, progress('counting', unit='files') as b:\n"
        " a.update(done=2000); b.advance(7); time.sleep(0.3); b.unit = 'passages'; b.advance(1); time.sleep(0.3)"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.DEVNULL, check=True)
    os.close(theirs)
    drawn = os.read(ours, 65536)
    os.close(ours)
    assert b"weighing" in drawn
    assert b"2.0 kB/3.0 kB" in drawn
    assert b"7 files" in drawn and b"8 passages" in drawn
