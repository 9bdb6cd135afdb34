"""Whose signatures are enough: policies as written, as compiled, and found by path."""
