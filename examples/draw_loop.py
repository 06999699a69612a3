"""Draw each drum's presence 60 times a second, from the microphone or from a file in real time."""

import argparse
import sys

from dance import DanceError, Detector, Engine, Microphone, SoundFile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", nargs="?", help="audio file; default: the microphone")
parser.add_argument("--device", help="part of the microphone's name; default: the system's default input")
parser.add_argument("--model", help="an .onnx file; default: the one inside the package")
options = parser.parse_args()

try:
    source = SoundFile(options.file, realtime=True) if options.file else Microphone(options.device, reconnect=True)
    with source:
        detector = Detector.load(options.model, sample_rate=source.sample_rate)
        with Engine(source, detector) as engine:
            # A window's own loop would wait for the screen here; `presence` may be asked at any time.
            while not engine.wait(1 / 60):
                values = zip(detector.labels, engine.presence(), strict=True)
                print("\r" + "  ".join(f"{label} {'#' * round(10 * x):<10}" for label, x in values), end="", flush=True)
except KeyboardInterrupt:
    pass
except DanceError as error:
    sys.exit(str(error))
print()
