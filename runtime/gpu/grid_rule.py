"""How many programs a kernel is launched with: a rule such as `ceil(plane / 512)`, from the bundle, is computed.

    rule    = factor (("*" | "/") factor)*
    factor  = number | name | "ceil(" rule ")"

Nothing else is accepted, and nothing is executed.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from shadowdiffusion.runtime.errors import BundleError

TOKEN = re.compile(r"\s*(ceil\b|[A-Za-z_]\w*|\d+|[*/()])")
LARGEST = 2**31 - 1
"""Programs along x; y and z take fewer, which the driver checks."""


def programs(rule: str, values: Mapping[str, int]) -> int:
    """The value of a rule, at least 1. Raises BundleError for a rule that is malformed or no such number here."""
    tokens = _tokens(rule)
    try:
        result = _rule(tokens, values)
    except (IndexError, KeyError, ZeroDivisionError, RecursionError, ValueError) as error:
        raise _wrong(rule) from error
    if tokens or result.denominator != 1 or not 1 <= result <= LARGEST:
        raise _wrong(rule)
    return int(result)


def _tokens(rule: str) -> list[str]:
    """Last one first."""
    found, position = list[str](), 0
    text = rule.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise _wrong(rule)
        found.append(match[1])
        position = match.end()
    return found[::-1]


def _rule(tokens: list[str], values: Mapping[str, int]) -> Fraction:
    result = _factor(tokens, values)
    while tokens and tokens[-1] in "*/":
        divide, factor = tokens.pop() == "/", _factor(tokens, values)
        result = result / factor if divide else result * factor
    return result


def _factor(tokens: list[str], values: Mapping[str, int]) -> Fraction:
    token = tokens.pop()
    if token == "ceil":
        if tokens.pop() != "(":
            raise ValueError
        inside = _rule(tokens, values)
        if tokens.pop() != ")":
            raise ValueError
        return Fraction(ceil(inside))
    return Fraction(int(token) if token.isdigit() else values[token])


def _wrong(rule: str) -> BundleError:
    return BundleError(f"the grid rule {rule!r} of a kernel cannot be followed: build the bundle's kernels again")
