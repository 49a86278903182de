"""Videos: frames in and out, and light that follows the scene."""
