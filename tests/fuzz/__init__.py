"""A fuzz harness: built and mutated files with right checksums, read by a child process with limits.

``make fuzz SECONDS=60 SEED=0`` runs it (``python -m fuzz`` with ``tests`` on the path), ``make fuzz REPLAY=FILE`` reads a kept file
again. The same seed makes the same cases. Modules: `corpus` (the files to begin with), `mutate` (what is done to them), `reader`
(the child), `__main__` (the parent).
"""
