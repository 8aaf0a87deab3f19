"""Documents in, passages out: loading, chunking, indexing, ranking. `Library` is the whole of it."""

from idiolect.retrieval.library import Library, LibraryConfig

__all__ = ["Library", "LibraryConfig"]
