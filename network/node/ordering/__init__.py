"""The orderer: its channels, their blocks, and who leads."""
