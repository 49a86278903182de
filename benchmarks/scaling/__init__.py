"""How the time of a restoration grows with pixels, images, steps, threads and processes."""
