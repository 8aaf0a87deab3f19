"""Idiolect: your own language model. Build it, teach it, check it, serve it.

Importing this package opens no socket, reads no environment variable and loads no weights.
"""

__version__ = "0.1.0"
