"""Everything that is learned: networks, losses, data, the training loop and the reference sampler (PyTorch)."""
