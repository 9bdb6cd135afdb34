"""The gateway and discovery: what a client asks of the whole network through one peer."""
