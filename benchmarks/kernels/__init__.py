"""How close the Triton kernels come to the bandwidth of a GPU, against PyTorch eager and compiled."""
