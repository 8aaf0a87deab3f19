"""What stands before every route: Host and Origin checks, keys, body size, and the headers of every answer.

DNS rebinding (Jackson et al., "Protecting browsers from DNS rebinding attacks", CCS 2007): a foreign page can make its
own name point at 127.0.0.1, but cannot change the Host header that the browser then sends. So a server on the loopback
address answers only to loopback names. A foreign page can also post blindly; its Origin header gives it away.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idiolect.core.errors import IdiolectError
from idiolect.gateway.config import HttpConfig
from idiolect.gateway.keys import Keys
from idiolect.gateway.server.errors import Refused, render

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_LOCKED = ("/v1/", "/api/", "/metrics")


class Shield:
    """ASGI middleware. Sets `scope["state"]["tenant"]` to the key's id, or "local"."""

    def __init__(self, app: ASGIApp, config: HttpConfig, keys: Keys | None) -> None:
        self._app, self._config, self._keys = app, config, keys
        self._hosts = {h.lower() for h in config.hosts}
        if config.host in LOOPBACK:
            self._hosts |= LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._check_host(headers)
            self._check_origin(headers)
            scope.setdefault("state", {})["tenant"] = self._tenant(scope, headers)
            self._check_length(headers)
        except IdiolectError as error:
            await refuse(error, send_on)
            return
        await self._app(scope, self._counted(receive), send_on)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts and _name(host) not in self._hosts:
            raise Refused(
                421,
                "wrong_host",
                f"this server does not answer for the host {host[:80]!r}",
                hint="add it to http.hosts",
            )

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._config.origins:
            return
        if origin == "null" or urlsplit(origin).netloc.lower() != headers.get(b"host", b"").decode("latin-1").lower():
            raise Refused(
                403, "wrong_origin", f"pages of {origin[:80]} may not call this server", hint="add it to http.origins"
            )

    def _tenant(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        if self._keys is None or not scope["path"].startswith(_LOCKED) or scope["method"] == "OPTIONS":
            return "local"
        kind, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if kind.lower() != "bearer" or not secret:
            hint = "send Authorization: Bearer KEY"
            raise Refused(401, "missing_api_key", "an API key is needed", hint=hint, WWW_Authenticate="Bearer")
        key = self._keys.check(secret.strip())
        if key is None:
            raise Refused(401, "invalid_api_key", "this API key is not valid", WWW_Authenticate="Bearer")
        return key.id

    def _check_length(self, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._config.body_bytes:
            raise self._too_large()

    def _too_large(self) -> Refused:
        most = self._config.body_bytes
        return Refused(413, "body_too_large", f"the body is larger than {most:,} bytes", hint="raise http.body_bytes")

    def _counted(self, receive: Receive) -> Receive:
        """A body without a declared length is counted while it comes."""
        seen = 0

        async def receive_on() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._config.body_bytes:
                    raise self._too_large()
            return message

        return receive_on


def _name(host: str) -> str:
    """The host without its port, lower case."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def refuse(error: IdiolectError, send: Send) -> None:
    """Answer with an error, in the middle of ASGI."""
    status, body, headers = render(error)
    raw = [(b"content-type", b"application/json"), *((k.lower().encode(), v.encode()) for k, v in headers.items())]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
