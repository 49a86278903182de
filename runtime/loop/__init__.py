"""From working images to restored ones: prior, mask, steps and noise, on the host and on tiles."""
