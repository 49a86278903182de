"""The one exception family of the `benchmarks` folder."""


class BenchmarkError(Exception):
    """Something that whoever measures can act on.

    The message says what was wrong, with which value, and what to do.
    """
