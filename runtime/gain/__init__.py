"""From the working size to the photo's own: light, and how it is enlarged and applied."""
