"""Claims, from a file in a payer's or provider's hands to the ledger and back."""
