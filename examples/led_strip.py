"""A strip of WS281x LEDs on a Raspberry Pi: kick in the middle, snare halfway out, hi-hat at the ends.

On a Pi 4 or older: pip install rpi_ws281x, connect the data line to GPIO 18, run as root with the Python of that
environment. A Pi 5 needs rpi_ws281x's kernel module first. Anywhere else, --simulate shows the strip in the terminal.
"""

import argparse
import signal
import sys
from pathlib import Path

import numpy as np

from dance import DanceError, Detector, Engine, Microphone, SoundFile
from dance.colours import colour

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", nargs="?", help="audio file; default: the microphone")
parser.add_argument("--device", help="part of the microphone's name; default: the system's default input")
parser.add_argument("--model", help="an .onnx file; default: the one inside the package")
parser.add_argument("--leds", type=int, default=60, help="default: %(default)s")
parser.add_argument("--pin", type=int, default=18, help="GPIO of the data line; default: %(default)s")
parser.add_argument("--brightness", type=float, default=0.4, help="0..1, minds the power supply; default: %(default)s")
parser.add_argument("--simulate", action="store_true", help="show the strip in the terminal")
parser.add_argument("--picture", type=Path, metavar="PNG", help="leave a picture: time to the right; needs matplotlib")
options = parser.parse_args()

away = np.abs(np.linspace(-1, 1, options.leds))  # from the middle
shapes = {
    "kick": np.exp(-((away / 0.35) ** 2)),
    "snare": np.exp(-(((away - 0.55) / 0.12) ** 2)),
    "hihat": (away > 0.85).astype(float),
    "tom": np.exp(-(((away - 0.3) / 0.1) ** 2)),
    "cymbal": np.exp(-(((away - 0.8) / 0.1) ** 2)),
}


def light(labels, presence) -> np.ndarray:
    """Return the strip's colours, uint8 [leds, 3]."""
    colours = np.zeros((options.leds, 3))
    for label, value in zip(labels, presence, strict=True):
        # Squared: eyes are not linear, and a strip that never gets dark does not dance.
        colours += np.outer(min(1, 1.5 * value) ** 2 * shapes[label], tuple(bytes.fromhex(colour(label)[1:])))
    return np.clip(colours, 0, 255).astype(np.uint8)


class Terminal:
    """A strip in the terminal, with real colours."""

    def show(self, colours: np.ndarray) -> None:
        """Draw over the last line."""
        print("\r" + "".join(f"\x1b[48;2;{r};{g};{b}m " for r, g, b in colours) + "\x1b[0m", end="", flush=True)


class Strip:
    """A real one."""

    def __init__(self) -> None:
        try:
            from rpi_ws281x import PixelStrip
        except ModuleNotFoundError:
            sys.exit("a real strip needs a Raspberry Pi and pip install rpi_ws281x; --simulate shows one here")
        self.strip = PixelStrip(options.leds, options.pin, brightness=round(255 * options.brightness))
        self.strip.begin()

    def show(self, colours: np.ndarray) -> None:
        """Light the LEDs."""
        for i, (r, g, b) in enumerate(colours.tolist()):
            self.strip.setPixelColorRGB(i, r, g, b)
        self.strip.show()


for name in {"SIGTERM", "SIGHUP"} & {each.name for each in signal.Signals}:
    if signal.getsignal(signal.Signals[name]) is signal.SIG_DFL:  # a service that is stopped leaves no light behind
        signal.signal(signal.Signals[name], signal.default_int_handler)
frames = []
strip = Terminal() if options.simulate else Strip()
try:
    source = SoundFile(options.file, realtime=True) if options.file else Microphone(options.device, reconnect=True)
    with source:
        detector = Detector.load(options.model, sample_rate=source.sample_rate)
        with Engine(source, detector) as engine:
            while not engine.wait(1 / 60):
                colours = light(detector.labels, engine.presence())
                strip.show(colours)
                if options.picture and len(frames) < 450:
                    frames.append(colours)
except KeyboardInterrupt:
    pass
except DanceError as error:
    sys.exit(str(error))
finally:
    strip.show(np.zeros((options.leds, 3), np.uint8))
if frames:
    from matplotlib.image import imsave

    imsave(options.picture, np.repeat(np.repeat(np.swapaxes(frames, 0, 1), 5, axis=0), 2, axis=1))
    print(f"\n{options.picture}")
