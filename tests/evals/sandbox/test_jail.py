"""Hostile programs: each is stopped and the machine is as it was. The list is that of benchmarks/sandbox.py."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.hostile import programs
from benchmarks.sandbox import Host, resident
from idiolect.core.errors import BadInput, Unavailable
from idiolect.evals.sandbox import Jail, Limits, Outcome, jail, sandbox

LIMITS = Limits(seconds=20, memory=256 << 20)
NAMES = [one.name for one in programs()]
ENDLESS = {"loop without end", "ignore every signal", "sleep past the deadline", "a number without end"}


@pytest.fixture(scope="module")
def box() -> Jail:
    try:
        return sandbox()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.mark.parametrize("name", NAMES)
def test_hostile(box: Jail, host: Host, name: str) -> None:
    program = next(one.program for one in host.programs() if one.name == name)
    before = resident()
    outcome = box.run(program, Limits(seconds=1, memory=256 << 20) if name in ENDLESS else LIMITS)
    assert "HARMED" not in outcome.output, outcome
    assert host.changed() == []
    assert resident() - before < 200e6
    if name in ENDLESS:
        assert outcome.status == "timeout" and outcome.seconds < 1 + jail.GRACE
    if name.startswith("leave ") and "thread" not in name:
        assert not outcome.passed


def test_there_are_enough() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 20


def test_the_examination_sees_harm(box: Jail, host: Host, tmp_path: Path) -> None:
    """The same program outside the sandbox is noticed, so `changed` is no empty check."""
    own = Host(tmp_path)
    try:
        program = next(one.program for one in own.programs() if one.name == "write outside")
        exec(compile(program, "program", "exec"), {})
        assert own.changed() == ["files"]
    finally:
        own.close()


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("print('fine')\nassert 1 + 1 == 2", "passed"),
        ("assert 1 + 1 == 3", "failed"),
        ("this is no Python", "failed"),
        ("raise SystemExit(0)", "failed"),
        ("import os; os._exit(0)", "failed"),
        ("import os; os.kill(os.getpid(), 9)", "killed"),
        ("import math, re, collections, typing, heapq, itertools, hashlib, json, datetime, functools", "passed"),
        ("import sys; sys.stdout.write('x' * 70000)", "output"),
        ("x = input()", "failed"),
        ("\ud800", "failed"),
        ("s = '" + "a" * 300_000 + "'\nassert len(s) == 300_000", "passed"),
    ],
)
def test_verdicts(box: Jail, program: str, status: str) -> None:
    assert box.run(program, LIMITS).status == status


def test_output_is_what_was_printed(box: Jail) -> None:
    assert box.run("print('a')\nimport sys\nsys.stderr.write('b')", LIMITS).output == "a\nb"
    assert "ZeroDivisionError" in box.run("1 / 0", LIMITS).output


def test_programs_see_nothing_of_this_process(box: Jail) -> None:
    os.environ["SECRET_OF_THE_TEST"] = "x"
    try:
        seen = box.run("import os; print(sorted(os.environ)); print(os.getcwd())", LIMITS)
    finally:
        del os.environ["SECRET_OF_THE_TEST"]
    assert seen.passed and "SECRET" not in seen.output
    assert seen.output.rstrip().endswith("/")


def test_many_at_once(box: Jail) -> None:
    found: dict[int, Outcome] = {}

    def one(n: int) -> None:
        found[n] = box.run(f"print({n}); assert {n} % 2", LIMITS)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    want = {n: "passed" if n % 2 else "failed" for n in range(6)}
    assert {n: o.status for n, o in found.items()} == want, found
    assert all(str(n) in o.output for n, o in found.items())


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Unavailable, match="Linux"):
        sandbox.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sandlock", None)
    with pytest.raises(Unavailable, match="sandlock"):
        sandbox.__wrapped__()


def test_a_sandbox_with_a_hole_is_refused(box: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "READABLE", (*jail.READABLE, "/etc"))
    with pytest.raises(Unavailable, match="does not hold"):
        sandbox.__wrapped__()


def test_limits_are_checked() -> None:
    with pytest.raises(BadInput, match="seconds"):
        Limits(seconds=0)
    with pytest.raises(BadInput, match="32 MB"):
        Limits(memory=1 << 20)
