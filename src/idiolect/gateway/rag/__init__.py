"""Answers over documents, with citations. `Rag(library, handler)` is a handler."""

from idiolect.gateway.rag.program import Rag, RagConfig

__all__ = ["Rag", "RagConfig"]
