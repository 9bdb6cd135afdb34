"""The law of the domain: Python chaincode for Hyperledger Fabric.

`shim` talks with the peer, `contract` turns methods into transactions (`context` is what they know,
`access` who may call them). `consent`, `records`, `claims`, `audit`, `directory` are one contract
of the `health` chaincode each: `model` (values), `rules` (pure decisions), `contract` (reads state,
asks the rules, writes state). `simulator` runs contracts in a unit test, `development` while they
are written.
Nothing here imports `network`: chaincode and peer meet only over gRPC.
"""
