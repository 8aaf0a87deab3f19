"""The HTTP server: `create_app(app)` gives an ASGI application, `serve(config)` runs one."""

from idiolect.gateway.server.build import create_app
from idiolect.gateway.server.run import serve

__all__ = ["create_app", "serve"]
