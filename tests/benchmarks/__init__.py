"""Benchmarks: `python -m tests.benchmarks [NAME…]` measures and writes docs/benchmarks.md."""
