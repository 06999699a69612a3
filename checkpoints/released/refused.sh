#!/bin/sh
# Renders the tracker modules that labelgen/modules.py refused, since nobody knows which of their instruments are drums,
# as songs for labelgen/pseudo.py: refused.sh SET MODULES OUT
#   SET  the set that labelgen/modules.py wrote      MODULES  the folder that it read      OUT  a folder for FLAC files
set -eu
python - "$@" <<'END'
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from labelgen.chunks import Manifest
from labelgen.files import find_files
from labelgen.modules import RATE, SUFFIXES, Module

chunks, modules, out = map(Path, sys.argv[1:])
refused = Manifest(chunks).refused()
for key, path in find_files([modules], SUFFIXES):
    if key not in refused:
        continue
    try:
        with Module(path.read_bytes(), longest=480) as module:
            samples = np.concatenate(list(module.play()))
    except (OSError, ValueError) as error:  # what is no module was refused too
        print(f"refused: {path}: {error}", file=sys.stderr)
        continue
    song = out / f"{key}.flac"
    song.parent.mkdir(parents=True, exist_ok=True)
    sf.write(song, samples, RATE)
END
