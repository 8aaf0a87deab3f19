"""Serving: models behind layers, answers over documents, HTTP, conversations, keys and limits."""
