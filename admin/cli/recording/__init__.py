"""The verbs of `medfabric record`, a module for each side: who keeps, who asks, who verifies."""
