"""The store: append-only, content-addressed, and proof of both."""

from __future__ import annotations

import asyncio
import math
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.core.call import Finished, Message, ToolCall, Usage
from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable
from idiolect.core.store import NewEvent, Store

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
texts = st.text(st.characters(), max_size=20)  # lone surrogates included
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=texts,
    name=st.none() | texts,
    tool_calls=st.lists(st.builds(ToolCall, texts, texts, texts), max_size=2).map(tuple),
    tool_call_id=st.none() | texts,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda c: st.lists(c, max_size=3) | st.dictionaries(texts, c, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.db") as opened:
        yield opened


@SHARED
@given(st.dictionaries(texts, json_values, max_size=4), st.sampled_from(["a", "b"]))
def test_an_event_comes_back_as_it_went_in(store: Store, payload: dict[str, Any], trace: str) -> None:
    stored = store.append("kind", payload, trace=trace)
    assert stored.payload == payload
    assert next(store.events(newest_first=True, limit=1)) == stored


def test_payloads_may_be_dataclasses_and_hold_infinities(store: Store) -> None:
    store.append("finished", Finished("stop", Usage(3, 4)))  # type: ignore[arg-type]
    store.append("tokens", {"logprob": -math.inf, "p": (1, 2), "raw": b"\xff", "path": Path("a")})
    first, second = store.events()
    assert first.payload["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "cached_tokens": 0}
    assert second.payload == {"logprob": -math.inf, "p": [1, 2], "raw": "ff", "path": "a"}
    with pytest.raises(BadInput, match="cannot be stored"):
        store.append("x", {"thing": object()})
    with pytest.raises(BadInput, match="mapping"):
        store.append("x", [1])  # type: ignore[arg-type]
    assert store.count() == 2


@SHARED
@given(st.lists(messages, max_size=5), st.integers(0, 5))
def test_chains_round_trip_and_share_their_beginnings(store: Store, talk: list[Message], cut: int) -> None:
    whole = store.put_chain(talk)
    assert store.chain(whole) == tuple(talk)
    first = store.put_chain(talk[:cut])
    before = store.verify().nodes
    assert store.put_chain(talk[cut:], parent=first) == whole
    assert store.verify().nodes == before  # nothing was stored twice
    if talk:
        assert (store.parent(whole) or "") == store.put_chain(talk[:-1])


def test_one_changed_word_is_another_chain(store: Store) -> None:
    a = store.put_chain([Message("user", "hi"), Message("assistant", "yes")])
    b = store.put_chain([Message("user", "ho"), Message("assistant", "yes")])
    assert a != b


def test_blobs(store: Store) -> None:
    name = store.put_blob(b"\x00\xff")
    assert store.put_blob(b"\x00\xff") == name
    assert store.blob(name) == b"\x00\xff"
    assert store.verify().blobs == 1


def test_unknown_names(store: Store) -> None:
    for act in (
        lambda: store.chain("no"),
        lambda: store.blob("no"),
        lambda: store.parent("no"),
        lambda: store.append("x", {}, chain="no"),
        lambda: store.put_chain([Message("user")], parent="no"),
    ):
        with pytest.raises(NotFound):
            act()
    assert store.verify().nodes == 0


def test_filters_order_and_limits(store: Store) -> None:
    for i in range(1200):  # more than two pages of a read
        store.submit([NewEvent("even" if i % 2 == 0 else "odd", {"i": i}, trace=f"t{i % 3}")])
    store.append("last", {})
    assert [e.seq for e in store.events()] == list(range(1, 1202))
    assert [e.seq for e in store.events(newest_first=True)] == list(range(1201, 0, -1))
    assert [e.payload["i"] for e in store.events(kind="odd", trace="t2", limit=3)] == [5, 11, 17]
    assert [e.payload["i"] for e in store.events(trace="t0", limit=2, newest_first=True)] == [1197, 1194]
    assert [e.seq for e in store.events(after=1199)] == [1200, 1201]
    assert [e.seq for e in store.events(after=1199, newest_first=True)] == [1201, 1200]
    assert [e.kind for e in store.events(trace="")] == ["last"]
    assert list(store.events(trace="none")) == []
    assert list(store.events(limit=0)) == []


def test_many_threads_lose_nothing_and_each_trace_keeps_its_order(store: Store) -> None:
    def write(name: int) -> None:
        for i in range(40):
            store.append("k", {"i": i}, trace=str(name))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(16):
        assert [e.payload["i"] for e in store.events(trace=str(name))] == list(range(40))
    assert store.verify().ok


def test_append_many_is_one_piece(store: Store) -> None:
    with pytest.raises(NotFound):
        store.append_many([NewEvent("a", {}), NewEvent("b", {}, chain="no")])
    assert store.count() == 0
    assert [e.seq for e in store.append_many([NewEvent("a", {}), NewEvent("b", {})])] == [1, 2]


async def test_submit_can_be_awaited(store: Store) -> None:
    (event,) = await asyncio.wrap_future(store.submit([NewEvent("a", {})]))
    assert event.seq == 1


def test_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.db")
    waiting = store.submit([NewEvent("a", {})])
    store.close()
    store.close()
    assert waiting.result()[0].seq == 1  # what was waiting is written first
    with pytest.raises(Unavailable, match="closed"):
        store.append("a", {})
    with pytest.raises(Unavailable, match="closed"):
        list(store.events())


@pytest.mark.parametrize("statement", ["UPDATE events SET kind = 'x'", "DELETE FROM nodes", "DELETE FROM blobs"])
def test_sql_cannot_change_history(store: Store, statement: str) -> None:
    store.append("a", {}, chain=store.put_chain([Message("user", "hi")]))
    store.put_blob(b"x")
    connection = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert store.verify().ok


def test_reopened_store_goes_on(tmp_path: Path) -> None:
    for i in range(3):
        with Store.open(tmp_path / "s.db") as store:
            assert store.append("a", {}).seq == i + 1
            assert store.verify().ok


# ------------------------------------------------------------------------------------------------------ damage


def _fill(path: Path) -> None:
    with Store.open(path) as store:
        chain = store.put_chain([Message("user", "question"), Message("assistant", "answer")])
        for i in range(6):
            store.append("kind", {"i": i, "text": "word"}, trace="t", chain=chain)
        store.put_blob(b"some bytes")


COLUMNS = [
    ("events", "time"),
    ("events", "kind"),
    ("events", "trace"),
    ("events", "chain"),
    ("events", "payload"),
    ("events", "hash"),
    ("nodes", "parent"),
    ("nodes", "message"),
    ("nodes", "hash"),
    ("blobs", "data"),
    ("blobs", "hash"),
]


def _tamper(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    connection = sqlite3.connect(path)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for sql, values in statements:
        connection.execute(sql, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_verify_names_a_changed_value(tmp_path: Path, table: str, column: str) -> None:
    path = tmp_path / "s.db"
    _fill(path)
    connection = sqlite3.connect(path)
    key = "seq" if table == "events" else "hash"
    row, value = connection.execute(f"SELECT {key}, {column} FROM {table} ORDER BY {key} DESC LIMIT 1").fetchone()
    connection.close()
    if isinstance(value, float):
        changed: Any = math.nextafter(value, math.inf)
    elif isinstance(value, bytes):
        changed = bytes([value[0] ^ 1]) + value[1:]
    else:
        changed = (chr(ord(value[0]) ^ 1) + value[1:]) if value else "x"
    _tamper(path, (f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (changed, row)))
    with Store.open(path) as store:
        report = store.verify()
    assert not report.ok
    assert report.table == table
    assert report.row == (changed if column == "hash" and table != "events" else str(row))
    assert report.problem


@pytest.mark.parametrize("seq", range(1, 7))
def test_verify_names_a_removed_event(tmp_path: Path, seq: int) -> None:
    _fill(tmp_path / "s.db")
    _tamper(tmp_path / "s.db", ("DELETE FROM events WHERE seq = ?", (seq,)))
    with Store.open(tmp_path / "s.db") as store:
        report = store.verify()
    assert (report.ok, report.table, report.row) == (False, "events", str(seq))
    assert report.problem == f"event {seq} is gone"


def test_verify_notices_a_rewritten_tail_of_another_history(tmp_path: Path) -> None:
    _fill(tmp_path / "s.db")
    swap = "UPDATE events SET seq = ? WHERE seq = ?"
    _tamper(tmp_path / "s.db", (swap, (100, 3)), (swap, (3, 4)), (swap, (4, 100)))
    with Store.open(tmp_path / "s.db") as store:
        assert store.verify().row == "3"


@pytest.mark.parametrize("which", ["parent", "leaf"])
def test_verify_names_a_removed_message(tmp_path: Path, which: str) -> None:
    path = tmp_path / "s.db"
    _fill(path)
    condition = "parent = ''" if which == "parent" else "parent != ''"
    connection = sqlite3.connect(path)
    (hash,) = connection.execute(f"SELECT hash FROM nodes WHERE {condition}").fetchone()
    connection.close()
    _tamper(path, ("DELETE FROM nodes WHERE hash = ?", (hash,)))
    with Store.open(path) as store:
        report = store.verify()
    assert (report.ok, report.table, report.row) == (False, "nodes", hash)


def test_verify_catches_any_flipped_byte_of_the_content(tmp_path: Path) -> None:
    """Flip bytes of the file itself, inside every stored value: always noticed, never an exception."""
    path = tmp_path / "s.db"
    _fill(path)
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good = path.read_bytes()
    places = []
    for needle in (b'"text":"word"', b'"content":"question"', b"some bytes", b"kind"):
        at = good.find(needle, 4096)
        while at >= 0:
            places += range(at, at + len(needle))
            at = good.find(needle, at + 1)
    assert len(places) > 100
    from idiolect.core.verify import verify

    for at in random.Random(0).sample(places, 60):
        bad = bytearray(good)
        bad[at] ^= 1 << random.Random(at).randrange(8)
        path.write_bytes(bad)
        report = verify(path)
        assert not report.ok, f"byte {at} was flipped unseen"
        assert report.problem
    path.write_bytes(good)
    assert verify(path).ok


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"not a database, but long enough to be read as one" * 20)
    with pytest.raises(CorruptFile, match="damaged"):
        Store.open(tmp_path / "junk.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(CorruptFile, match="some other SQLite file"):
        Store.open(tmp_path / "other.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(CorruptFile, match="update Idiolect"):
        Store.open(tmp_path / "newer.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        Store.open(tmp_path / "file" / "s.db")
    with pytest.raises(Unavailable):
        Store.open(tmp_path)


def test_a_deleted_store_does_not_begin_again(tmp_path: Path) -> None:
    from idiolect.core.verify import verify

    with pytest.raises(Unavailable):
        verify(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(CorruptFile, match="no such table"):
        verify(tmp_path / "other.db")


def test_paths_with_signs_of_an_address(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20d é"
    with Store.open(folder / "s.db") as store:
        store.append("a", {})
        assert store.verify().ok
    assert (folder / "s.db").is_file()


def test_lookups_use_their_indexes_and_stay_fast(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        jobs = [
            store.submit([NewEvent("k", {"i": i}, trace=f"t{i % 2000}") for i in range(at, at + 2000)])
            for at in range(0, 40_000, 2000)
        ]
        jobs[-1].result()
        begin = time.perf_counter()
        for i in range(50):
            assert len(list(store.events(trace=f"t{i}", kind="k"))) == 20
            assert len(list(store.events(kind="k", newest_first=True, limit=5))) == 5
        assert (time.perf_counter() - begin) / 100 < 0.01
        connection = sqlite3.connect(store.path)
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM events WHERE trace = ? AND trace != '' AND +kind = ? "
            "AND seq > ? ORDER BY seq",
            ("t", "k", 0),
        ).fetchall()
        connection.close()
        assert "events_trace" in plan[0][3]
        assert len(plan) == 1  # no sort
