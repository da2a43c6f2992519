"""Benchmarks: `python -m tests.benchmarks [NAME…]` runs them and writes docs/benchmarks.md."""
