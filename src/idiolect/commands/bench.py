"""`idiolect bench`: how fast a server answers under load."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from idiolect.commands import show
from idiolect.commands.settings import Flag, Json
from idiolect.core.errors import BadInput, Unavailable

EXAMPLES = """
  idiolect bench serve http://127.0.0.1:8017 --rate 4 --requests 200
  idiolect bench serve --up ./Qwen3-4B --rate 2 --slo ttft=1,itl=0.1
  idiolect bench serve http://gpu:8000 --json    any OpenAI-compatible server"""
app = App(
    name="bench", help="Measure a server under load.", help_epilogue="Examples:" + EXAMPLES, help_format="plaintext"
)


@app.command
def serve(
    url: str | None = None,
    /,
    *,
    up: str | None = None,
    rate: float = 4.0,
    requests: Annotated[int, Parameter(name=["--requests", "-n"])] = 200,
    concurrency: int | None = None,
    prompts: Path | None = None,
    max_tokens: int = 64,
    endpoint: Literal["chat", "completions"] = "chat",
    model: str | None = None,
    slo: str = "ttft=0.5,itl=0.05",
    warmup: int = 2,
    seed: int = 0,
    same: Flag = False,
    key: str | None = None,
    timeout: float = 300.0,
    plot: Path | None = None,
    json: Json = False,
) -> int:
    """Ask a server like many users would: requests come at random moments, whether or not it keeps up.

    Works with any server that speaks OpenAI's protocol. Latencies count from the moment at which a request was due.

    Parameters
    ----------
    url
        The server's address, such as http://127.0.0.1:8017.
    up
        Start `idiolect up` with this model for the measurement, instead of an address.
    rate
        Requests a second, on average (Poisson arrivals); inf sends all at once.
    requests
        How many.
    concurrency
        The most requests under way; further ones wait, and their waiting counts.
    prompts
        A file with one prompt a line, or JSON lines with prompt or messages and max_tokens.
    max_tokens
        The longest answer, where the file does not say.
    endpoint
        chat, or completions with raw prompts.
    model
        The model to ask (default: the first that the server lists).
    slo
        What counts as good: seconds to the first token, mean seconds between tokens.
    warmup
        Requests before the measurement that are not counted.
    seed
        Fixes arrivals and prompts.
    same
        Ask prompts as they are; else each begins with a number of its own, so that caches do not help.
    key
        An API key.
    timeout
        Seconds without a byte after which a request counts as failed.
    plot
        Also draw the latencies into this file (.png, .svg, .pdf).
    """
    import asyncio

    from idiolect.gateway.bench import Plan, Slo, Target, drive, read_prompts, report
    from idiolect.gateway.bench.report import lines, rows

    if (url is None) == (up is None):
        raise BadInput("give a server's address or --up MODEL", hint="idiolect bench serve http://127.0.0.1:8017")
    for name, value in (("concurrency", concurrency), ("max_tokens", max_tokens), ("timeout", timeout)):
        if value is not None and not value > 0:
            raise BadInput(f"{name} is {value:g}", hint="give a value above 0", param=name)
    if warmup < 0:
        raise BadInput(f"warmup is {warmup}", hint="give 0 or more", param="warmup")
    objective = Slo.parse(slo)
    plan = Plan.make(
        read_prompts(prompts),
        rate=rate,
        requests=requests,
        max_tokens=max_tokens,
        warmup=warmup,
        seed=seed,
        same=same,
    )

    async def measured(address: str) -> tuple[object, object]:
        target = Target(address, model=model, endpoint=endpoint, key=key, timeout=timeout)
        async with target:
            driven = await drive(target, plan, concurrency=concurrency)
        return driven, report(driven, objective, target.model or "")

    with _server(up) if url is None else _given(url) as address:
        driven, found = asyncio.run(measured(address))
    from idiolect.gateway.bench.drive import Driven
    from idiolect.gateway.bench.report import Report

    assert isinstance(driven, Driven) and isinstance(found, Report)
    if plot is not None:
        from idiolect.gateway.bench.plot import plot as draw

        draw(driven, found, plot)
    if json:
        show.emit(found)
    else:
        print(f"{found.model} at {address}")
        head, table = rows(found)
        show.table([[row[0], *(cell.rjust(9) for cell in row[1:-1]), row[-1]] for row in [head, *table]])
        print("\n".join(lines(found)))
    return 1 if found.failed == found.requests else 0


@contextmanager
def _given(url: str) -> Iterator[str]:
    yield url


@contextmanager
def _server(model: str | None) -> Iterator[str]:
    """`idiolect up` in a process of its own on a free port, with a store that goes with it."""
    assert model is not None
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "idiolect", "up", "--no-docs", "--encoder", "none", "--port", "0"]
        command += ["--model", model, "--store", str(Path(folder) / "store.sqlite")]
        # The bar of this process stays alone on the terminal; what the server says on its way is kept for an error.
        with (Path(folder) / "said").open("w+") as said:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
            try:
                assert process.stdout is not None
                address = process.stdout.readline().strip()
                if not address:
                    process.wait(timeout=30)
                    said.seek(0)
                    why = (said.read().strip().splitlines() or ["it said nothing"])[-1]
                    raise Unavailable(
                        f"the server did not start: {why.removeprefix('idiolect: ')}", hint="check the model"
                    )
                yield address
            finally:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
