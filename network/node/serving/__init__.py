"""What every node serves with: gRPC, REST, logs, metrics, settings, the block stream."""
