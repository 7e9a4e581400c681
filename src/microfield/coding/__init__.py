"""Entropy coding: varints, integer tables, the range coder, quantised weights."""
