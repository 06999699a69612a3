"""Chromium without a window, as tests and pictures of the monitor need it.

Contents
--------
chromium, resize, MISSING, HOW
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

MISSING = ", ".join(
    [tool for tool in ("chromium", "chromedriver") if not shutil.which(tool)]
    + ([] if find_spec("selenium") else ["selenium"])
)
"""What a browser needs and this machine has not; empty if nothing."""

HOW = "apt-get install chromium chromium-driver; pip install selenium"
"""How to get it."""

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 800) -> Iterator[Any]:
    """Give a selenium driver of a fresh Chromium whose page has this size in CSS pixels."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for option in (*_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
        try:
            resize(driver, width, height)
            yield driver
        finally:
            driver.quit()


def resize(driver: Any, width: int, height: int) -> None:
    """Give the page this size in CSS pixels; a narrow one is a phone's."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
