"""Versioned state as a simulation reads it, and the read-write set it leaves."""
