"""Triton kernels of one sampling step: one operation per file, with its reference, kernel and launcher."""
