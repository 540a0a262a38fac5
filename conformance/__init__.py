"""Runs the official array API test suite on a device of gpuxp: ``python -m conformance --device cpu``."""
