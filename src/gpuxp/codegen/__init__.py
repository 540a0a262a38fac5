"""From kernels to source code."""
