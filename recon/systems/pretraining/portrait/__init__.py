"""Training of the network that sees portraits, on shards of synthetic ones."""
