"""What is measured: the networks of a bundle, or of a size with random weights, in PyTorch and as a bundle."""
