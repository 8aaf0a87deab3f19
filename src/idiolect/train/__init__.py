"""One training loop for every way of changing a model."""
