"""gpuxp against NumPy, by the clock: ``python -m benchmarks``."""
