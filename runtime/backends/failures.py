"""What to raise where a network failed, whoever ran it."""

import os

from shadowdiffusion.runtime.errors import OutOfMemoryError, RestoreError

OUT_OF_MEMORY = (
    "failed to allocate memory",
    "is smaller than requested bytes",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
)
"""What the messages of ONNX Runtime, CUDA, cuDNN and cuBLAS say, in lower case."""


def failure(name: str, shape: tuple[int, ...], error: Exception) -> RestoreError:
    """What to raise where a graph failed on images of a shape [N, C, H, W]."""
    text = f"{name} failed at {shape[3]}x{shape[2]} pixels: {one_line(error)}"
    if is_out_of_memory(error):
        return OutOfMemoryError(f"{text} (memory ran out: use a smaller working size)")
    return RestoreError(text)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of ONNX Runtime, which has no type of its own for it, says that memory ran out."""
    return isinstance(error, MemoryError | OutOfMemoryError) or any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    )


def one_line(error: BaseException) -> str:
    """The message of an exception on one line."""
    return " ".join(str(error).split()).replace(os.linesep, " ")
