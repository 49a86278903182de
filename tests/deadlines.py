"""How long the tests wait for what must come: so long that only what hangs is given up, however busy the machine is."""

LONGEST = 600.0
"""Seconds."""
