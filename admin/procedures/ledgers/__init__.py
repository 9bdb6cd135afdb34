"""Blocks and ledgers, shown, explained, verified and compared."""
