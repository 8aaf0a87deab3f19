"""The command line: quick help, one clear line for every mistake, nothing but results on standard output."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from idiolect import __version__
from idiolect.cli import COMMANDS, EXAMPLES, build, main
from idiolect.core.store import Store

GROUPS = {  # commands with commands of their own, and the examples that their help shows
    name: importlib.import_module(f"idiolect.commands.{name}").EXAMPLES
    for name, (where, _) in COMMANDS.items()
    if where.endswith(":app")
}
IDIOLECT = [sys.executable, "-m", "idiolect"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*IDIOLECT, *argv], capture_output=True, text=True, check=False)


def test_help_is_quick() -> None:
    """Under half a second of the processor's time: the wall clock of a busy machine says nothing about us."""
    seconds = []
    for _ in range(5):
        before = os.times()
        done = run("--help")
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert done.returncode == 0
        assert done.stderr == ""
    assert 0 < min(seconds) < 0.5, seconds


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage: idiolect" in out
    code = f"import sys; from idiolect.cli import main; main([{command!r}, '--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False"), "help must not import torch"


@pytest.mark.parametrize(
    "line",
    [x for text in (*EXAMPLES.values(), *GROUPS.values()) for x in text.splitlines() if x.startswith("  idiolect")],
)
def test_every_example_parses(line: str) -> None:
    assert len(line) <= 80, "help would break it on an ordinary terminal"
    command = line.strip().split("   ", maxsplit=1)[0].split(" | ")[0]
    build().parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_shows_its_own_examples(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([group], [group, "--help"]):
        assert main(argv) == 0
        shown = re.findall(r"^ *idiolect (\w+)", capsys.readouterr().out, re.MULTILINE)
        assert group in shown and "search" not in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["upp"], "up"),
        (["up", "--prot", "3"], "Did you mean --port?"),
        (["up", "--port", "abc"], "--port"),
        (["up", "--port", "99999", "--no-docs"], "port is 99999"),
        (["up"], "no folder of documents"),
        (["up", "missing"], "there is no folder missing"),
        (["up", "{tmp}", "--no-docs"], "both a folder and --no-docs"),
        (["up", "{empty}"], "it is empty"),
        (["up", "{junk}"], "2 files were passed over"),
        (["up", "--no-docs", "--set", "limts.x=3"], "did you mean 'limits'"),
        (["up", "--no-docs", "--set", "http.port"], "is not an override"),
        (["up", "--no-docs", "--config", "missing.yaml"], "no configuration file missing.yaml"),
        (["up", "--no-docs", "--host", "0.0.0.0"], "keys"),
        (["up", "--no-docs", "--host", "no.such.host.invalid", "--port", "0"], "no.such.host.invalid"),
        (["up", "--no-docs", "--dtype", "float3"], "float32"),
        (["up", "--no-docs", "--model", "missing.gguf", "--encoder", "none", "--port", "0"], "missing.gguf"),
        (["up", "--no-docs", "--device", "tpu", "--encoder", "none", "--port", "0"], "device 'tpu' is not known"),
        (["ask"], "QUESTION"),
        (["ask", "x", "--max-tokens", "0"], "give 1 or more"),
        (["ask", "  "], "the question is empty"),
        (["ask", "x", "--length", "9"], "5"),
        (["ask", "x", "--docs", "missing"], "there is no folder missing"),
        (["chat", "missing"], "there is no folder missing"),
        (["index", "missing"], "there is no folder missing"),
        (["search", "{tmp}"], "QUERY"),
        (["search", "{tmp}", "x", "--how", "bm52"], "bm25"),
        (["search", "{tmp}", "x", "-k", "0"], "1"),
        (["search", "{tmp}", " "], "the query is empty"),
        (["search", "{tmp}", "x", "--stale", "--how", "bm25"], "has not been indexed"),
        (["models", "inspect", "missing.gguf"], "missing.gguf"),
        (["models", "inspect", "pipy:x==1"], "pypi"),
        (["models", "inspect", "{junk}/bad.gguf"], "bad.gguf"),
        (["store", "verify", "--store", "missing"], "there is no store missing"),
        (["store", "verify", "--store", "{junk}/x.bin"], "x.bin"),
        (["store", "events", "--store", "{junk}/x.bin"], "damaged"),
        (["keys", "revoke", "nobody"], "no live key"),
        (["keys", "list", "--file", "{tmp}"], "Is a directory"),
        (["store", "events", "--limit", "0"], "--limit"),
        (["store", "verify", "--store", "{empty}"], "there is no store"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    argv: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty, junk = tmp_path / "empty", tmp_path / "junk"
    empty.mkdir()
    junk.mkdir()
    (tmp_path / "note.md").write_text("# A note\n\nSome words.\n")
    (junk / "x.bin").write_bytes(b"\x00junk" * 1000)
    (junk / "bad.gguf").write_bytes(b"GGUF\x03\x00")
    code = main([a.format(tmp=tmp_path, empty=empty, junk=junk) for a in argv])
    out, err = capfd.readouterr()
    assert code in ((1, 2) if argv[:2] == ["store", "verify"] else (2,))
    assert out == ""
    (line,) = err.strip().splitlines()[-1:]
    assert line.startswith("idiolect: ")
    assert says in line
    assert "Traceback" not in err


def test_a_busy_port_is_said_before_anything_loads(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("up", "--no-docs", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_store_commands(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "state" / "store.sqlite"
    with Store.open(path) as store:
        for i in range(3):
            store.append("feedback" if i else "started", {"i": i}, trace="t")
    assert main(["store", "verify"]) == 0
    assert "3 events" in capsys.readouterr().out
    assert main(["store", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["ok"] is True
    assert main(["store", "events", "--kind", "feedback", "-n", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["payload"] == {"i": 2}


def test_store_verify_reports_damage(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    path = home / "state" / "store.sqlite"
    with Store.open(path) as store:
        store.append("a", {})
        store.append("b", {})
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER events_no_delete")
    connection.execute("DELETE FROM events WHERE seq = 1")
    connection.commit()
    connection.close()
    assert main(["store", "verify"]) == 1
    assert "event 1 is gone" in capsys.readouterr().err


def test_keys_are_shown_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "laptop"]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret not in (home / "state" / "keys.json").read_text()
    assert main(["keys", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "laptop"
    assert main(["keys", "revoke", "laptop"]) == 0
    assert "revoked" in capsys.readouterr().out


def test_index_and_search_by_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "rent.md").write_text("# Lease\n\nThe tenant pays the rent on the first of each month.\n")
    (folder / "cats.md").write_text("# Cats\n\nA cat sleeps most of the day.\n")
    assert main(["index", str(folder), "--encoder", "none"]) == 0
    assert "2 added" in capsys.readouterr().out
    assert main(["index", str(folder), "--encoder", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["unchanged"] == 2
    assert main(["search", str(folder), "who pays rent", "--how", "bm25", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"][0]["document"] == "rent.md"
    assert main(["search", str(folder), "zebra", "--how", "bm25"]) == 1
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 broken")
    assert main(["index", str(folder), "--encoder", "none"]) == 1
    assert "not read: bad.pdf" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error(home: Path) -> None:
    with Store.open(home / "state" / "store.sqlite") as store:
        for _ in range(3):
            store.append("k", {"text": "x" * 100_000})
    command = f"{sys.executable} -m idiolect store events | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    """`chat` waits for a line: interrupting it must not print a stack."""
    code = "import signal, sys, threading, os\nfrom idiolect import cli\n"
    code += "from idiolect.commands import doctor\n"
    code += "def wait(): threading.Event().wait(30)\n"
    code += "doctor._disk = wait; doctor._torch = doctor._weights = lambda: []\n"
    code += "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\nsys.exit(cli.main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 130
    assert done.stderr == ""
    assert signal.SIGINT == 2
