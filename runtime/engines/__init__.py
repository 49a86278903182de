"""Engines: networks compiled ahead for one device, how they are found, and whether they are for this one."""
