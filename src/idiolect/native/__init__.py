"""The CPU kernels: built on first use, called once per step of the engine."""
