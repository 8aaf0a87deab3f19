"""The page: static ES modules with no build step. The gateway serves the folder `STATIC` at `/`."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""The folder of the page. Its entry is `index.html`; every address inside it is relative."""
