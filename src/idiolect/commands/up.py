"""`idiolect up`: the main job. A folder of documents becomes a chat page and an API."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from idiolect.commands import show
from idiolect.commands.settings import Flag, Options, check_folder, configure
from idiolect.core.errors import BadInput

if TYPE_CHECKING:
    from idiolect.gateway.app import App


def up(
    docs: Path | None = None,
    /,
    *,
    host: str | None = None,
    port: Annotated[int | None, Parameter(name=["--port", "-p"])] = None,
    open: Flag = False,
    no_docs: Flag = False,
    keys: Path | None = None,
    options: Options | None = None,
) -> int:
    """Serve a chat page and an OpenAI-compatible API over a folder of documents.

    Reads what changed in the folder, loads the model, prints the address and stays until Ctrl-C. Nothing leaves this
    machine.

    Parameters
    ----------
    docs
        The folder (or one file). Text, Markdown, HTML, PDF, DOCX and source code are read.
    host
        Address to listen on (default 127.0.0.1: only this machine).
    port
        Port (default 8017; 0 takes a free one).
    open
        Open the page in the browser when it is ready.
    no_docs
        Serve the model alone.
    keys
        A file of API keys that requests must bring; needed to listen beyond this machine.
    """
    if docs is not None and no_docs:
        raise BadInput("both a folder and --no-docs are given", hint="give one of them")
    config = configure(options, docs, bare=no_docs, host=host, port=port, keys=None if keys is None else str(keys))
    if config.documents is not None:
        check_folder(Path(config.documents).expanduser())
    elif not no_docs:
        raise BadInput("no folder of documents is given", hint="write: idiolect up FOLDER, or add --no-docs")

    from idiolect.gateway.server import serve
    from idiolect.web import STATIC

    def announce(address: str, app: App) -> None:
        threading.Thread(target=_tell, args=(address, app, open), name="announce", daemon=True).start()

    # What made loading fail is raised by `serve` and becomes our one line; the server's own log would say it twice.
    logging.getLogger("idiolect.gateway.server.build").setLevel(logging.CRITICAL)
    serve(config, static=STATIC, announce=announce)
    return 0


def _tell(address: str, app: App, open_page: bool) -> None:
    """Say each stage as it begins, and every ten seconds how far it is; then where the page is."""
    said, at = {"starting", "ready"}, time.monotonic()
    bars = sys.stderr.isatty()  # there, the index draws a bar of its own
    while not app.is_ready:
        stage = app.stage
        if app.failure is not None or stage == "stopping":
            return  # the main thread says why
        name, _, far = stage.partition(":")
        if name not in said or (far and not bars and time.monotonic() - at > 10):
            show.say(f"{name if name not in said else stage} ...")
            said.add(name)
            at = time.monotonic()
        time.sleep(0.02)
    if app.library is not None:
        _documents(app)
    show.say(f"{app.model_id} is ready; the OpenAI-compatible API is at {address}/v1; Ctrl-C stops")
    print(address, flush=True)
    if open_page:
        import webbrowser

        webbrowser.open(address)


def _documents(app: App) -> None:
    assert app.library is not None
    statuses = app.library.documents()
    failed = [status for status in statuses if status.state == "failed"]
    show.say(f"{len(statuses) - len(failed)} documents, {len(app.library)} passages from {app.library.folder}")
    for status in failed[:10]:
        show.say(f"  not read: {status.path}: {status.reason}")
    if len(failed) > 10:
        show.say(f"  ... and {len(failed) - 10} more; the Documents tab lists them all")
