"""The memory that a process takes to restore images of a size."""
