"""Runs the server: checks the address, serves, and ends every answer properly when it is told to stop."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from idiolect.core.errors import BadInput, Unavailable
from idiolect.gateway.app import App
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.server.build import create_app
from idiolect.gateway.server.shield import LOOPBACK


def bind(config: HttpConfig, keys: bool) -> socket.socket:
    """A listening socket. `Unavailable` says that the port is taken; `BadInput` that the address would be open to
    others without keys."""
    if config.host not in LOOPBACK and not keys and not config.open:
        raise BadInput(
            f"{config.host} can be reached by other machines and no API keys are set",
            hint="create keys, or set http.open=true if everybody may ask",
            param="http.host",
        )
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it sees that this is TCP: with it
    # on, every answer waits 40 ms for the caller's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"port {config.port} on {config.host} is in use", hint="give another with --port, or stop what uses it"
            ) from None
        raise Unavailable(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from None
    return listener


class Server(uvicorn.Server):
    """uvicorn, except that a stop signal also cancels the running answers, so that they end and are recorded."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._app.loop is not None:  # not here: a signal may come while a lock is held
            self._app.loop.call_soon_threadsafe(self._app.stop_answers)
        super().handle_exit(sig, frame)


def server(app: App, static: Path | None = None) -> Server:
    """A configured server that is not running yet."""
    config = uvicorn.Config(
        create_app(app, static),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    return Server(config, app)


def serve(config: AppConfig, *, static: Path | None = None, announce: Callable[[str, App], None] | None = None) -> None:
    """Serve until interrupted. `announce(url, app)` is called once the address is ours, before anything is loaded.
    When loading fails the server stops and the reason is raised."""
    keys = bool(config.http.keys)
    listener = bind(config.http, keys)
    try:
        app = App(config)
        if app.keys is not None and not any(k.revoked is None for k in app.keys.all()):
            raise BadInput(f"there is no live key in {app.keys.path}", hint="create one first", param="http.keys")
        running = server(app, static)
        host, port = listener.getsockname()[:2]
        if announce is not None:
            announce(f"http://{'[' + host + ']' if ':' in host else host}:{port}", app)
        app.on_failure = lambda: setattr(running, "should_exit", True)
        running.run(sockets=[listener])
    finally:
        listener.close()
    if app.failure is not None:
        raise app.failure
