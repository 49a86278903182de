"""Measurements: quality on photographed pairs."""
