"""The programs in the page on embedding run as they stand, a file playing the microphone."""

import re
import wave
from pathlib import Path

import numpy as np
import pytest
from stage import RELEASED, ROOT, drums, run

PAGE = ROOT / "docs" / "embed.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

# Also holds in the process of a ProcessEngine, which imports the program.
MICROPHONE = """
import functools, sys, dance
dance.Microphone = functools.partial(dance.SoundFile, {song!r}, realtime=True)
"""


@pytest.mark.skipif(not RELEASED.is_file(), reason="needs the released model")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda text: text.splitlines()[-1].strip()[:30])
def test_the_programs_run(program: str, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    with wave.open(str(song), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", ""))
        file.writeframes((32767 * drums(1.0)).astype(np.int16).tobytes())
    script = tmp_path / "program.py"
    script.write_text(MICROPHONE.format(song=str(song)) + program.replace("room.json", str(tmp_path / "room.json")))
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("Microphone" not in program) or "kick" in done.stdout


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 5
