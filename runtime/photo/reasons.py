"""Why libvips failed, in a line."""


def reason(error: Exception) -> str:
    """The last, most specific line of a libvips message."""
    lines = [line.strip() for line in str(getattr(error, "detail", "") or error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
