"""A ledger's snapshot in Fabric's form: its files, its metadata, what may be missing after it."""
