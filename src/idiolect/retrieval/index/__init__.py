"""The rankers that ship: BM25 over words and exact cosine over vectors. benchmarks/cranfield.py holds the rest."""

from idiolect.retrieval.index.bm25 import BM25
from idiolect.retrieval.index.exact import Exact

__all__ = ["BM25", "Exact"]
