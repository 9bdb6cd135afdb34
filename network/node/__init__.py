"""The nodes: I/O shells round the rules. Each starts from what a Fabric node starts from.

`orderer` and `peer` are the two programs (`python -m network.node orderer|peer`); `settings` reads
orderer.yaml and core.yaml as Fabric does, `grpc_server` and `operations` are common to both,
`deliver` is the block stream that both serve. Nothing here reads network.yaml.
"""
