"""What a precision costs: every network and the whole loop against float32, on the CPU."""
