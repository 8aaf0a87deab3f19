"""Deltas over a frozen model: adapters that are trained, saved, merged and served."""
