"""A kernel variant: everything needed to compile one kernel ahead of time and to launch the result."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One specialisation of one kernel.

    name: unique, also the name of its file. kernel: the Triton function. types: Triton type of each run-time
    argument in order, such as "*fp32" or "i32". constants: value of every compile-time argument.
    aligned: run-time arguments that are multiples of 16 (pointers: of 16 bytes); a caller must keep to it.
    grid: number of programs along x, y and z, as expressions over the run-time arguments' names and `images`.
    warps: warps of 32 threads per program. registers: budget per thread that a build must stay within.
    wide: which plain tensors move in 128-bit accesses, checked in the machine code: "loads", "stores" or both.
    """

    name: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    aligned: frozenset[str]
    grid: tuple[str, str, str]
    warps: int
    registers: int
    wide: frozenset[str] = frozenset({"loads", "stores"})
