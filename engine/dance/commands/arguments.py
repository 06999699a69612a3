"""Numbers and devices on command lines: readers for argparse whose errors say what is wrong and what is allowed.

Contents
--------
within, positive, natural, count, share, chance, level, period, port, device, LOOPBACK, PERIODS
"""

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)

LOOPBACK = "127.0.0.1"
PERIODS = (16, 8192)
"""Fewest and most frames in a block from a device: no device delivers fewer, and with more nothing is live."""


def within(
    kind: Callable[[str], Number], least: float, most: float = math.inf, *, above: bool = False, unit: str = ""
) -> Callable[[str], Number]:
    """Return a reader of finite numbers of `kind` from `least` (if `above`, more than that) to `most`, in a `unit`."""
    what = ("a whole number" if kind is int else "a number") + (f" of {unit}" if unit else "")
    first = f"more than {least:g}" if above else f"at least {least:g}"
    bounds = first if most == math.inf else f"{first}, at most {most:g}" if above else f"{least:g} to {most:g}"
    bounds += f" {unit}" if unit else ""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
        if not least <= value <= most or value == math.inf or (above and value == least):
            raise argparse.ArgumentTypeError(f"must be {bounds}, not {text}")
        return value

    return read


def positive(kind: Callable[[str], Number], unit: str = "") -> Callable[[str], Number]:
    """Return a reader of numbers of `kind` above zero, in a `unit`."""
    return within(kind, 0, above=True, unit=unit)


natural = within(int, 0)  # such as a seed
count = within(int, 1)
share = within(float, 0, 1, above=True)
chance = within(float, 0, 1)  # a share that may be none
level = within(float, -60, 60, unit="dB")
period = within(int, *PERIODS, unit="frames")
port = within(int, 0, 65535)  # 0 is a free one


def device(text: str) -> int | str:
    """Return the number of a device, or a part of its name."""
    return int(text) if text.isdecimal() else text
