"""Picture the web visual at the demo song, brightest moment: ``python engine/tests/photograph_visual.py PNG``."""

import argparse
import io
import sys
from pathlib import Path

from browser import HOW, MISSING, chromium
from PIL import Image, ImageStat
from stage import ROOT, SONG

from dance import Detector, Engine, SoundFile
from dance.sinks import WebSocket


def main() -> int:
    """Take pictures all the time and keep the brightest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float, default=25, help="of the song; default: %(default)s")
    options = parser.parse_args()
    if MISSING:
        print(f"photograph: needs {MISSING} ({HOW})", file=sys.stderr)
        return 2
    with SoundFile(SONG, realtime=True) as source, chromium(960, 540) as browser:
        detector = Detector.load(sample_rate=source.sample_rate)
        socket = WebSocket(detector.labels, port=0)
        try:
            browser.get(f"{(ROOT / 'examples' / 'visual.html').as_uri()}?{socket.url}")
            with Engine(source, detector, socket) as engine:
                shots = []
                while engine.stats.seconds < options.seconds:
                    shots.append(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB"))
        finally:
            socket.close()
    brightest = max(shots, key=lambda shot: sum(ImageStat.Stat(shot).sum))
    brightest.quantize(256, Image.Quantize.MAXCOVERAGE).save(options.picture, optimize=True)
    print(options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
