"""A peer's ledgers: blocks, state, history and private data in one SQLite file a channel."""
