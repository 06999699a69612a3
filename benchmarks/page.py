"""What the monitor's page costs a browser: frames a second, and the time of its own work in each.

Chromium without a window shows the page while a recording plays at the pace of the music (the demo song, unless
told otherwise). *Drawing* is the time in the page's drawing function, *messages* that of taking in what the server has
sent since the frame before; both are the page's own code. The processor's time for the page's main thread and for its
whole process, divided by the frames, is what all that comes to: styles, layout, rasterising (there is no graphics card
here) and Chromium's own housekeeping too. Clocks of pages are rounded to 0.1 ms. Run it alone.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import RATE, SONG, guard, mono
from dance.commands.arguments import positive
from dance.detector import Detector
from dance.errors import DanceError, SourceError
from dance.sources import SoundFile
from dance.web.monitor import Monitor

FRAME = 1000 / 60
"""Milliseconds of a frame at 60 a second."""
FILL_SECONDS = 8
"""Until the lanes are full, and a frame takes as much as it ever will."""
SPARE_SECONDS = 5
"""Of the recording, for the page to load."""
MISSING = [tool for tool in ("chromium", "chromedriver") if not shutil.which(tool)] + (
    [] if find_spec("selenium") else ["selenium"]
)

# In the page: the time of each frame, and the work of its own code until then.
PROBE = """
window.measured = [];
let messages = 0;
const draws = paint, hears = socket.onmessage;
socket.onmessage = event => {
  const began = performance.now();
  hears(event);
  messages += performance.now() - began;
};
paint = now => {
  const began = performance.now();
  draws(now);
  measured.push([now, performance.now() - began, messages]);
  messages = 0;
};
"""


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    options = parser().parse_args(argv)
    mono(options.song, RATE, least=options.seconds + FILL_SECONDS + SPARE_SECONDS)
    if MISSING:
        how = "apt-get install chromium chromium-driver; pip install selenium"
        raise DanceError(f"needs {', '.join(MISSING)} ({how})")
    width, height = options.size
    with browser(width, height) as driver:
        rows, busy = measure(driver, options.song, options.seconds)
    report(rows, busy, f"{width} x {height}, {len(rows)} frames")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/page.py --size 390x844",
    )
    add = made.add_argument
    add("--song", type=Path, default=SONG, help="recording to hear; default: the demo song")
    add("--seconds", type=positive(float), default=15, help="to measure, once the picture is full; default: 15")
    add("--size", type=size, default="1280x800", help="of the page in CSS pixels; default: %(default)s")
    return made


def size(text: str) -> tuple[int, int]:
    """Return width and height, from the command line."""
    width, _, height = text.partition("x")
    return positive(int)(width), positive(int)(height)


def measure(driver: Any, song: Path, seconds: float) -> tuple[np.ndarray, tuple[float, float]]:
    """Show the page for a while.

    Returns
    -------
    rows : float array [frames, 3]
        Time of each frame, its drawing, and the messages before it, all in milliseconds.
    busy : tuple of float
        Milliseconds of processor time that the page's main thread and its process took meanwhile.
    """
    with (
        Monitor(port=0) as monitor,
        SoundFile(song, realtime=True) as source,
        monitor.engine(source, Detector.load(sample_rate=source.sample_rate)) as engine,
    ):
        driver.get(monitor.url)
        time.sleep(FILL_SECONDS)
        driver.execute_script(PROBE)
        before = _worked(driver)
        if engine.wait(seconds):
            raise SourceError(f"{song} ended before the page was measured; choose a longer --song, or fewer --seconds")
        rows = driver.execute_script("return measured")
        after = _worked(driver)
    return np.array(rows), (after[0] - before[0], after[1] - before[1])


def report(rows: np.ndarray, busy: tuple[float, float], title: str) -> None:
    """Print frames a second, and what a frame takes."""
    stamps, drawing, messages = rows.T
    gaps = np.diff(stamps)
    table = Table("milliseconds a frame", "median", "p99", "max", "share of 16.7 ms", title=title)
    for name, values in (("drawing", drawing), ("messages", messages), ("both", drawing + messages)):
        median, late = np.percentile(values, (50, 99))
        table.add_row(name, f"{median:.2f}", f"{late:.2f}", f"{values.max():.2f}", f"{values.mean() / FRAME:.1%}")
    for name, total in zip(("main thread, mean", "all threads, mean"), busy, strict=True):
        table.add_row(name, f"{total / len(rows):.2f}", "", "", f"{total / len(rows) / FRAME:.1%}")
    table.add_row(
        "from frame to frame", f"{np.median(gaps):.2f}", f"{np.percentile(gaps, 99):.2f}", f"{gaps.max():.2f}"
    )
    Console(width=100).print(table)
    span = stamps[-1] - stamps[0]
    print(
        f"{1000 * len(gaps) / span:.1f} frames a second, {np.mean(gaps > 1.5 * FRAME):.1%} of them late by one or more"
    )


def _worked(driver: Any) -> tuple[float, float]:
    """Return the milliseconds of processor time that the page's main thread and its process have taken so far."""
    metrics = {m["name"]: m["value"] for m in driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
    return 1000 * metrics["ThreadTime"], 1000 * metrics["ProcessTime"]


@contextmanager
def browser(width: int, height: int) -> Iterator[Any]:
    """Give a selenium driver of a fresh Chromium whose page has this size."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
            options.add_argument(option)
        options.add_argument(f"--user-data-dir={profile}")
        driver = Chrome(options, ChromeService(shutil.which("chromedriver") or ""))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.execute_cdp_cmd("Performance.enable", {})
            yield driver
        finally:
            driver.quit()


if __name__ == "__main__":
    sys.exit(main())
