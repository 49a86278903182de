"""The one exception family of the `kernels` folder."""


class KernelError(Exception):
    """Something a caller of `kernels` can act on.

    The message says what was wrong, with which value, and what to do.
    """
