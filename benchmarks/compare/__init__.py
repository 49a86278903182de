"""Two sets of results, of two versions of the program on one device, side by side."""
