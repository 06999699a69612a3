"""A page in the browser that shows what an engine hears, and sets it: see `dance.web.monitor.Monitor`.

Contents
--------
PORT, SETTINGS
"""

from pathlib import Path

PORT = 8808
"""Where the page is, unless told otherwise."""

SETTINGS = Path("dance-settings.json")
"""Where the page saves settings, unless told otherwise."""
