"""A consortium's network: made, joined, watched, repaired; its chaincode and identities."""
