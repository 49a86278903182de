"""How good restored photos are, on photographed pairs."""
