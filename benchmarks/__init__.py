"""Measurements: quality on photographed pairs, and how close the kernels come to a GPU's bandwidth."""
