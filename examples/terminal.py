"""The drums as a pattern that scrolls up the terminal: kick in the middle, snare around it, hi-hat at the edges."""

import argparse
import sys
from pathlib import Path

import numpy as np

from dance import DanceError, Detector, Engine, Microphone, SoundFile
from dance.colours import colour

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", nargs="?", help="audio file; default: the microphone")
parser.add_argument("--device", help="part of the microphone's name; default: the system's default input")
parser.add_argument("--model", help="an .onnx file; default: the one inside the package")
parser.add_argument("--width", type=int, default=78, help="characters; default: %(default)s")
parser.add_argument("--picture", type=Path, metavar="PNG", help="leave a picture of the first lines; needs matplotlib")
options = parser.parse_args()

LINES = 200  # of the picture
away = np.abs(np.linspace(-1, 1, options.width))  # from the middle
places = {"kick": (0.0, 0.5), "snare": (0.6, 0.2), "hihat": (0.95, 0.06), "tom": (0.35, 0.1), "cymbal": (0.8, 0.08)}


def line(labels, presence) -> np.ndarray:
    """Return a colour for each character, uint8 [width, 3]: wide and bright where a drum is present."""
    light = np.zeros((options.width, 3))
    for label, value in zip(labels, presence, strict=True):
        place, reach = places[label]
        inside = np.clip(1 - np.abs(away - place) / (reach * value + 1e-9), 0, 1)
        light += np.outer(np.sqrt(inside) * min(1, 1.5 * value), tuple(bytes.fromhex(colour(label)[1:])))
    return np.clip(light, 0, 255).astype(np.uint8)


lines = []
try:
    source = SoundFile(options.file, realtime=True) if options.file else Microphone(options.device, reconnect=True)
    with source:
        detector = Detector.load(options.model, sample_rate=source.sample_rate)
        with Engine(source, detector) as engine:
            while not engine.wait(1 / 30):
                cells = line(detector.labels, engine.presence())
                print("".join(f"\x1b[48;2;{r};{g};{b}m " for r, g, b in cells) + "\x1b[0m", flush=True)
                if options.picture and len(lines) < LINES:
                    lines.append(cells)
except KeyboardInterrupt:
    pass
except DanceError as error:
    sys.exit(str(error))
if lines:
    from matplotlib.image import imsave

    imsave(options.picture, np.repeat(np.repeat(lines, 4, axis=0), 8, axis=1))  # characters are taller than wide
    print(options.picture)
