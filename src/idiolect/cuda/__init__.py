"""Triton kernels for NVIDIA GPUs, and the recorded step that is made of them. Imported only where there is a GPU."""
