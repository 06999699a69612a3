#!/bin/sh
# Joins the spoken clips of some Debian packages to recordings without drums: speech.sh OUT [ROOT]
#   OUT   gets one FLAC file for each package and language, and a manifest.csv for labelgen/drumless.py
#   ROOT  where the packages are unpacked (default: the system itself)
# Packages: asterisk-core-sounds-{en,es,fr}-g722, ktuberling-data, klettres-data, tuxpaint-stamps-default; needs ffmpeg.
# Languages in which benchmarks/false_events.py has recordings to test with are left out of the last three.
set -eu
out=$1 share=${2:-}/usr/share
mkdir -p "$out"
echo path,kind,source,licence,split >"$out/manifest.csv"

join() { # join NAME SOURCE LICENCE: paths of clips come in
    name=$1
    : >"$out/$name.raw"
    while read -r clip; do
        ffmpeg -v error -nostdin -i "$clip" -af apad=pad_dur=0.25 -ar 44100 -ac 1 -f s16le - >>"$out/$name.raw" || true
    done
    if [ -s "$out/$name.raw" ]; then
        ffmpeg -v error -nostdin -y -f s16le -ar 44100 -ac 1 -i "$out/$name.raw" "$out/$name.flac"
        echo "$name.flac,speech,$2,$3,train" >>"$out/manifest.csv"
    fi
    rm "$out/$name.raw"
}

for voice in en_US_f_Allison es_MX_f_Allison fr_CA_f_June; do
    find "$share/asterisk/sounds/$voice" -name "*.g722" -not -path "*silence*" | sort |
        join "asterisk_$voice" "Asterisk core sounds $voice" CC-BY-SA-3.0
done
for language in ca el en es fi ga gl it lt nl pt ro ru sl sv uk; do
    find "$share/ktuberling/sounds/$language" \( -name "*.ogg" -o -name "*.wav" \) 2>/dev/null | sort |
        join "ktuberling_$language" "KTuberling voices $language" GPL-2.0-or-later
done
for language in ar cs en en_GB es he hu id it lt ml nb nl nn pt_BR ru tn uk; do
    find "$share/klettres/$language" \( -name "*.ogg" -o -name "*.wav" \) 2>/dev/null | sort |
        join "klettres_$language" "KLettres voices $language" GPL-2.0-or-later
done
for language in '' _ca _el _es _lt _nl _ro; do
    find "$share/tuxpaint/stamps" -name "*_desc$language.ogg" -not -path "*/music/*" | sort |
        join "tuxpaint${language:-_en}" "Tux Paint stamps descriptions ${language:-_en}" GPL-2.0-or-later
done
