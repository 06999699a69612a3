"""``dance devices``: lists the inputs."""

import argparse

from ..portaudio import choose, list_devices

NAME = "devices"
HELP = "list the inputs that `dance listen --device` takes"
EXAMPLES = ("dance devices",)


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace) -> int:
    """Print a line for each input."""
    found = list_devices()
    choose(found, None)  # raises where there is none
    print("index  channels    rate  name      (* used when none is named)")
    for device in found:
        mark = "*" if device.default else " "
        print(f"{device.index:4} {mark}{device.channels:9}{device.sample_rate:8}  {device.name}")
    return 0
