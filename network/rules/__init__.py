"""The law of the ledger: bytes and values in, values out.

No grpc, disk, clock or random here: time, nonces and keys come in as arguments. Start with
`envelope` (every nested message), `block`, then `ordering` (what an orderer admits) and
`validation` (what a peer commits).
"""
