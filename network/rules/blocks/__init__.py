"""Blocks: hashed, cut, signed, judged on delivery, sought."""
