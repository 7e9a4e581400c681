"""The compiled kernel: what takes most of the time of `field`, in portable C, loaded by ctypes.

`loading.library` gives it or None. Whoever can use it asks for it, and computes with NumPy without: both give the same bytes and
the same values, which `tests/kernel` holds them to. C is in ``source/``; `building` compiles it.
"""
