"""Measurements of microfield's own speed and quality; `python -m benchmarks.run --data DIR` writes docs/results.md."""
