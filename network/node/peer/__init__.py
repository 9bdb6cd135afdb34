"""The peer as one process: its settings, its channels, its services."""
