#!/bin/sh
# Renders the tracker modules that labelgen/modules.py refused, since nobody knows which of their instruments are drums,
# as songs for labelgen/pseudo.py: refused.sh SET MODULES OUT
#   SET  the set that labelgen/modules.py wrote      MODULES  the folder that it read      OUT  a folder for FLAC files
# Needs an ffmpeg with libopenmpt, as Debian's.
set -eu
python - "$@" <<'END'
import json
import subprocess
import sys
from pathlib import Path

chunks, modules, out = map(Path, sys.argv[1:])
for line in (chunks / "manifest.jsonl").read_text().splitlines():
    entry = json.loads(line)
    if "refused" not in entry:
        continue
    package, name = entry["unit"].split("/", 1)
    for module in (modules / package).rglob(Path(name).name):
        song = out / package / f"{module.name}.flac"
        song.parent.mkdir(parents=True, exist_ok=True)
        quiet = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
        subprocess.run([*quiet, "-t", "480", "-i", f"file:{module}", "-ar", "44100", "-ac", "1", song], check=False)
END
