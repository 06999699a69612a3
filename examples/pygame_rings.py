"""A pulsing disc for each drum, and a ring that flies off at each hit, drawn with pygame; Escape ends it."""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

from dance import DanceError, Detector, Engine, Microphone, SoundFile
from dance.colours import colour

SIZE = (960, 540)
FLIGHT = 0.6  # seconds until a ring has faded

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", nargs="?", help="audio file; default: the microphone")
parser.add_argument("--device", help="part of the microphone's name; default: the system's default input")
parser.add_argument("--model", help="an .onnx file; default: the one inside the package")
parser.add_argument("--picture", type=Path, metavar="PNG", help="keep the liveliest frame")
options = parser.parse_args()


def draw(screen: pygame.Surface, labels: tuple[str, ...], presence, rings: list[list]) -> None:
    """Draw one frame; rings are lists of label, velocity and age in seconds."""
    screen.fill((14, 14, 18))
    width, height = screen.get_size()
    places = {label: (round(width * (i + 0.5) / len(labels)), height // 2) for i, label in enumerate(labels)}
    for label, velocity, age in rings:
        faded = pygame.Color(14, 14, 18).lerp(pygame.Color(colour(label)), max(0, 1 - age / FLIGHT))
        radius = round(60 + (60 + 240 * velocity) * age / FLIGHT)
        pygame.draw.circle(screen, faded, places[label], radius, width=max(1, round(10 * velocity)))
    for label, value in zip(labels, presence, strict=True):
        bright = pygame.Color(14, 14, 18).lerp(pygame.Color(colour(label)), 0.25 + 0.75 * min(1, float(value)))
        pygame.draw.circle(screen, bright, places[label], round(40 + 70 * value))


rings, liveliest = [], 0.0
try:
    source = SoundFile(options.file, realtime=True) if options.file else Microphone(options.device, reconnect=True)
    with source:
        detector = Detector.load(options.model, sample_rate=source.sample_rate)
        pygame.display.init()
        pygame.display.set_caption("dance")
        screen, clock = pygame.display.set_mode(SIZE, pygame.RESIZABLE), pygame.time.Clock()
        with Engine(source, detector) as engine:
            is_open = True
            while is_open and not engine.wait(0):
                passed = clock.tick(60) / 1000
                for event in pygame.event.get():
                    escape = event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE
                    is_open = is_open and not escape and event.type != pygame.QUIT
                rings = [[label, velocity, age + passed] for label, velocity, age in rings if age < FLIGHT]
                rings += [[hit.label, hit.velocity, 0.0] for hit in engine.poll()]
                presence = engine.presence()
                draw(screen, detector.labels, presence, rings)
                pygame.display.flip()
                if options.picture and presence.sum() + 0.3 * len(rings) > liveliest:
                    liveliest = presence.sum() + 0.3 * len(rings)
                    picture = screen.copy()
except KeyboardInterrupt:
    pass
except DanceError as error:
    sys.exit(str(error))
pygame.quit()
if liveliest:
    pygame.image.save(picture, options.picture)
    print(options.picture)
