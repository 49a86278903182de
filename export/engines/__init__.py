"""Engines: the networks of a bundle compiled for one machine, stored under everything they depend on."""
