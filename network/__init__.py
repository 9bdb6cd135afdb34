"""The law of the ledger and the nodes that keep it.

From the ground up: `rules` (pure: bytes and values in, values out), `topology` (network.yaml and
the keys and certificates it implies), `node` and `client` (the two sides of Fabric's protocols),
`engines` (a whole network: up, down, status). Start reading in `rules`.
"""
