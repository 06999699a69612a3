#!/bin/sh
# Unpacks the music of Debian packages, a folder each: music.sh LIST OUT
#   LIST  music.csv (recordings, for labelgen/pseudo.py) or modules.csv (tracker modules, for labelgen/modules.py)
# Needs apt-get with package lists, and dpkg-deb; nothing is installed. What is shorter than 25 s is no song, and the
# guitar tracks of rhythm games are among the recordings without drums already: both are removed.
set -eu
python -c "import soundfile" # in the environment of this project
list=$(readlink -f "$1") out=$2
mkdir -p "$out"
cd "$out"
tail -n +2 "$list" | cut -d, -f1 | while read -r package; do
    [ ! -d "$package" ] || continue
    apt-get download "$package" >/dev/null || { echo "music: no package $package" >&2; continue; }
    mkdir "$package"
    dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x -C "$package" --wildcards --no-anchored \
        '*.ogg' '*.mp3' '*.flac' '*.opus' '*.xm' '*.it' '*.s3m' '*.mod' 2>/dev/null || true
    rm "$package"_*.deb
    echo "$package"
done
find . -name "guitar.ogg" -delete
python - <<'END'
from pathlib import Path

import soundfile

for path in Path().rglob("*"):
    if path.suffix.lower() in (".ogg", ".mp3", ".flac", ".opus"):
        try:
            short = soundfile.info(path).duration < 25
        except soundfile.LibsndfileError:
            short = True
        if short:
            path.unlink()
END
