"""What the gateway costs: everything but the model, at many concurrent streams.

A metronome stands in for the model: a handler whose tokens come at fixed moments after its start, so that whatever a
request takes beyond the last of them is overhead. It is read three ways: directly (what the timers of asyncio cost),
through the whole of ours (HTTP, keys off, five layers, store with one fsync before the end), and through the rival, a
minimal FastAPI + uvicorn server that writes the same stream as server-sent events and keeps nothing. Both servers are
processes of their own; the client here reads raw sockets. Then one deterministic question is asked again and again: an
exact-cache hit, from the first byte sent to the last byte read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.harness import Result
from idiolect.core.call import Call, Ctx, Delta, Event, Finished, Started, TokenInfo, Usage

SUMMARY = "Overhead per request of the HTTP server, its layers and its store at concurrent streams; exact-cache hits."


class Metronome:
    """Says `tokens` tokens, one each `pace` seconds counted from its start."""

    def __init__(self, tokens: int, pace: float) -> None:
        self.tokens, self.pace = tokens, pace

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncIterator[Event]:
        begin = time.perf_counter()
        yield Started("metronome", "metronome", time.time())
        for i in range(self.tokens):
            await asyncio.sleep(max(0.0, begin + (i + 1) * self.pace - time.perf_counter()))
            yield Delta("tick ", 0, (TokenInfo(i, "tick ", -0.1),))
        yield Finished("stop", Usage(1, self.tokens))


def serve_ours(port_file: str, store: str, tokens: int, pace: float) -> None:
    from idiolect.gateway.app import App, Served
    from idiolect.gateway.config import AppConfig, HttpConfig
    from idiolect.gateway.server.run import bind, server

    config = AppConfig(store=store, http=HttpConfig(port=0))
    app = App(config, {"m": Served("m", Metronome(tokens, pace), "model")})
    listener = bind(config.http, False)
    Path(port_file).write_text(str(listener.getsockname()[1]))
    server(app).run(sockets=[listener])


def serve_rival(port_file: str, store: str, tokens: int, pace: float) -> None:
    import socket

    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def chat(body: dict) -> StreamingResponse:  # type: ignore[type-arg]
        async def lines() -> AsyncIterator[str]:
            async for event in Metronome(tokens, pace)(Call("m"), Ctx()):
                if isinstance(event, Delta):
                    yield f"data: {json.dumps({'choices': [{'delta': {'content': event.text}}]})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    listener = socket.socket(proto=socket.IPPROTO_TCP)  # as ours: no Nagle
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    Path(port_file).write_text(str(listener.getsockname()[1]))
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


class Server:
    """One of the two servers in a process of its own."""

    def __init__(self, side: str, folder: Path, tokens: int, pace: float) -> None:
        port_file = folder / f"{side}.port"
        code = (
            f"from benchmarks.gateway import serve_{side};"
            f"serve_{side}({str(port_file)!r}, {str(folder / 'store.sqlite')!r}, {tokens}, {pace})"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 60
        while not port_file.exists() or not port_file.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"the server {side} did not start")
            time.sleep(0.05)
        self.port = int(port_file.read_text())
        time.sleep(1.0)

    def cpu(self) -> float:
        """Seconds of processor time that the process has used (0 where there is no /proc)."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


class Client:
    """One keep-alive connection that posts and reads a chunked or sized answer to its end."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, body: dict) -> tuple[float, float, bytes]:  # type: ignore[type-arg]
        """(seconds to the first text, seconds to the end, what came)."""
        data = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        begin = time.perf_counter()
        self._writer.write(head.encode() + data)
        headers = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in headers.split(b"\r\n")[0], headers
        if b"content-length:" in headers:
            size = int(headers.split(b"content-length:")[1].split(b"\r\n")[0])
            got = await self._reader.readexactly(size)
            now = time.perf_counter() - begin
            return now, now, got
        first, parts = 0.0, []
        while True:
            size = int((await self._reader.readline()).strip(), 16)
            part = await self._reader.readexactly(size + 2)
            if not first and b"tick" in part:
                first = time.perf_counter() - begin
            parts.append(part)
            if size == 0:
                return first, time.perf_counter() - begin, b"".join(parts)


async def through(port: int, streams: int, requests: int, tokens: int, pace: float) -> tuple[list[float], list[float]]:
    """Overheads (first token, end) in seconds of `streams` clients that each ask `requests` times."""
    firsts: list[float] = []
    ends: list[float] = []

    async def client(number: int) -> None:
        await asyncio.sleep(random.Random(number).random() * tokens * pace)
        async with Client(port) as http:
            body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "go"}]}
            await http.post(body)  # warm
            for _ in range(requests):
                first, end, got = await http.post(body)
                assert got.count(b"tick") == tokens
                firsts.append(first - pace)
                ends.append(end - tokens * pace)

    await asyncio.gather(*(client(i) for i in range(streams)))
    return firsts, ends


async def directly(streams: int, requests: int, tokens: int, pace: float) -> list[float]:
    ends: list[float] = []

    async def client(number: int) -> None:
        await asyncio.sleep(random.Random(number).random() * tokens * pace)
        for _ in range(requests):
            begin = time.perf_counter()
            async for _event in Metronome(tokens, pace)(Call("m"), Ctx()):
                pass
            ends.append(time.perf_counter() - begin - tokens * pace)

    await asyncio.gather(*(client(i) for i in range(streams)))
    return ends


async def hits(port: int, count: int) -> list[float]:
    """Seconds of exact-cache hits, the first (a miss) left out."""
    body = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "the same question"}]}
    async with Client(port) as http:
        await http.post(body)
        seconds = []
        for _ in range(count):
            _, end, got = await http.post(body)
            assert b'"code":"cache"' in got
            seconds.append(end)
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, default=32, help="concurrent streams (default %(default)s)")
    parser.add_argument("--requests", type=int, default=4, help="requests per stream and round (default %(default)s)")
    parser.add_argument("--tokens", type=int, default=50, help="tokens of an answer (default %(default)s)")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between tokens (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side in turn (default %(default)s)")


def run(args: argparse.Namespace) -> Result:
    def show(name: str, seconds: list[float]) -> tuple[float, float]:
        cuts = statistics.quantiles(seconds, n=100)
        p50, p99 = 1e3 * statistics.median(seconds), 1e3 * cuts[98]
        print(f"{name:28} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   max {1e3 * max(seconds):7.2f} ms   n={len(seconds)}")
        return p50, p99

    kinds = ("direct", "ours first", "ours", "rival first", "rival")
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    cached: list[float] = []
    cpu = {"ours": 0.0, "rival": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        servers = {side: Server(side, Path(folder), args.tokens, args.pace) for side in ("ours", "rival")}
        try:
            shape = (args.streams, args.requests, args.tokens, args.pace)
            for _ in range(args.rounds):
                seconds["direct"] += asyncio.run(directly(*shape))
                for side, server in servers.items():
                    before = server.cpu()
                    first, end = asyncio.run(through(server.port, *shape))
                    cpu[side] += server.cpu() - before
                    seconds[f"{side} first"] += first
                    seconds[side] += end
                cached += asyncio.run(hits(servers["ours"].port, 200))
        finally:
            for server in servers.values():
                server.stop()
    print(
        f"{args.streams} streams, {args.tokens} tokens {args.pace * 1e3:g} ms apart; beyond the metronome's last tick:"
    )
    slop, _ = show("read directly (timers)", seconds["direct"])
    show("ours, first token", seconds["ours first"])
    p50, p99 = show("ours, whole request", seconds["ours"])
    show("minimal SSE, first token", seconds["rival first"])
    rival, _ = show("minimal SSE, whole request", seconds["rival"])
    asked = args.rounds * args.streams * (args.requests + 1)
    each = {side: f"{1e3 * seconds / asked:.2f} ms" for side, seconds in cpu.items()}
    print(f"processor time per request: ours {each['ours']}, minimal SSE {each['rival']}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    hit, _ = show("exact-cache hit, over HTTP", cached)
    p50, p99, rival = p50 - slop, p99 - slop, rival - slop
    return Result(
        bench="gateway",
        ours=round(p50, 3),
        rival=round(rival, 3),
        ratio=round(p50 / rival, 2) if rival > 0 else None,
        unit="ms overhead per request, p50 (ratio ours/rival, lower is better)",
        n=len(seconds["ours"]),
        goal="p50 < 3 ms, p99 < 15 ms, exact-cache hit p50 < 2 ms",
        met=p50 < 3 and p99 < 15 and hit < 2,
        notes=[f"p99 {p99:.2f} ms", f"hit p50 {hit:.2f} ms", "rival: FastAPI SSE echo without store, layers or limits"],
    )
