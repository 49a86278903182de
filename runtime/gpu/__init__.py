"""The whole loop on a GPU without PyTorch: the CUDA driver, the bundle's kernels, memory, and graphs of launches."""
