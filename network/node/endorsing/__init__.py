"""From a signed proposal to a signed reply, and the chaincodes that answer it."""
