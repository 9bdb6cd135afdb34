"""The parts of `medfabric claim`."""
