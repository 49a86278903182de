"""How long a restoration takes, whole and by its parts, against others, and how close it stays to the reference."""
