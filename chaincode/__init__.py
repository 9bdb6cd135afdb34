"""The law of the domain: Python chaincode for Hyperledger Fabric.

`server` carries bytes, `handler` talks with the peer, `stub` is what a contract sees, `contract`
turns methods into transactions. Each folder is one contract of the `health` chaincode: `model`
(values), `rules` (pure decisions), `contract` (reads state, asks the rules, writes state).
Nothing here imports `network`: chaincode and peer meet only over gRPC.
"""
