"""Call a function at every drum hit, from the microphone or from a file in real time."""

import argparse
import sys

from dance import DanceError, Detector, Engine, Event, Microphone, SoundFile


def on_event(event: Event) -> None:
    """Do here what should happen at a hit; the next one waits until this returns."""
    print(f"{event.time:8.3f} s  {event.label:<6}  velocity {event.velocity:.2f}", flush=True)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", nargs="?", help="audio file; default: the microphone")
parser.add_argument("--device", help="part of the microphone's name; default: the system's default input")
parser.add_argument("--model", help="an .onnx file; default: the one inside the package")
options = parser.parse_args()

try:
    source = SoundFile(options.file, realtime=True) if options.file else Microphone(options.device, reconnect=True)
    with source:
        detector = Detector.load(options.model, sample_rate=source.sample_rate)
        Engine(source, detector, on_event).run()
except KeyboardInterrupt:
    pass
except DanceError as error:
    sys.exit(str(error))
