"""Take a picture of the monitor while the demo song plays: ``python engine/tests/photograph.py docs/monitor.png``."""

import argparse
import io
import sys
import time
from pathlib import Path

from browser import HOW, MISSING, chromium
from PIL import Image
from stage import SONG

from dance import Detector, SoundFile
from dance.web.monitor import Monitor


def main() -> int:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", default="1280x800", help="of the page, in CSS pixels; default: %(default)s")
    parser.add_argument("--labels", help="drums to show, separated by commas")
    parser.add_argument(
        "--seconds", type=float, default=12, help="of the song before the picture; default: %(default)s"
    )
    options = parser.parse_args()
    if MISSING:
        print(f"photograph: needs {MISSING} ({HOW})", file=sys.stderr)
        return 2
    width, height = map(int, options.size.split("x"))
    labels = options.labels.split(",") if options.labels else None
    with Monitor(port=0) as monitor, SoundFile(SONG, realtime=True) as source:
        source.name = SONG.name
        detector = Detector.load(sample_rate=source.sample_rate, labels=labels)
        with chromium(width, height) as browser:
            browser.get(monitor.url)
            with monitor.engine(source, detector):
                time.sleep(options.seconds)
                shot = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    shot.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(options.picture, optimize=True)
    print(options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
