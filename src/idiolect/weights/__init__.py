"""Weights in, weights out: quantised tensors, and export to the formats that people have."""
