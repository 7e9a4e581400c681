"""Entropy coding: whole numbers as bytes and bits, the range coder and its tables, binary decisions, quantised weights."""
