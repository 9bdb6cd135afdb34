"""What an orderer admits, which one leads, and which channels it may join."""
