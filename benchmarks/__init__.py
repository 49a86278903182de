"""Measurements of bundles and kernels: one folder per kind, data first, reports made from the data alone."""
