"""Acts of many steps as plain functions: they take values, tell progress, return values.

They know endpoints and protocols, not engines' insides, and can be run again: what is done
already is left as it is.
"""
