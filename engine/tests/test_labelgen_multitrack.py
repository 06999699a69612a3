"""Songs as separate tracks: each hit of a drum's own track is found, and nobody claims more than is known."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import studio

from labelgen import multitrack
from labelgen.chunks import Manifest, read_labels
from labelgen.multitrack import Options, kind_by_name, kind_of
from labelgen.shreds import RELEASED, ShredClassifier

RATE = studio.RATE
SECONDS = 12.0
KICKS = [0.5 + 0.5 * k for k in range(22)]
HATS = [0.75 + 0.25 * k for k in range(40)]


def track(kind: str, times: list[float], velocities: list[float] | None = None, seconds: float = SECONDS) -> np.ndarray:
    """Return a track of one drum."""
    audio = np.zeros(round(seconds * RATE), np.float32)
    sound = studio._sound(kind, np.random.default_rng(1))
    sound = 0.3 * sound / np.abs(sound).max()
    for time, velocity in zip(times, velocities or [1.0] * len(times), strict=True):
        start = round(time * RATE)
        end = min(start + len(sound), len(audio))
        audio[start:end] += velocity * sound[: end - start]
    return audio


def song(folder: Path, **tracks: np.ndarray) -> Path:
    """Write a song of a bass and the tracks given."""
    folder.mkdir(parents=True)
    bass = 0.1 * np.sin(2 * np.pi * 55 * np.arange(round(SECONDS * RATE)) / RATE)
    for name, audio in {"bass": bass, **tracks}.items():
        sf.write(folder / f"{name}.wav", audio, RATE, subtype="FLOAT")
    return folder


def made(folder: Path, out: Path, table: str = "", seconds: float = 30.0):
    """Make the chunks of one song in this process; return them."""
    (folder / "tracks.csv").write_text("path,class\n" + table)
    [(_, found)] = multitrack.find_songs([folder], multitrack.read_tracks(folder / "tracks.csv"))
    return multitrack.make_chunks(found, Options(out, RELEASED, seconds, 900.0, "CC0"))


def times_of(out: Path, chunk, label: str, least: float = -100.0) -> list[float]:
    """Return when a drum is hit, in the song's seconds."""
    labels = read_labels(out / f"{chunk.name}.tsv")
    return [x.time + chunk.details["start"] for x in labels if x.label == label and x.prominence >= least]


@pytest.mark.parametrize(
    ("name", "cls"),
    [("Kick In", "kick"), ("Bass Drum", "kick"), ("off_kick", "kick"), ("SNR_verb", "snare"), ("Claps 2", "clap"),
     ("hat_fill", "hat_closed"), ("toms", "tom"), ("Crash L", "crash"), ("Shaker", "perc"), ("hat loop", "hat_closed"),
     ("house_beat", "mixed"), ("tom_break", "mixed"), ("Drums", "mixed"), ("kick+snare", "mixed"), ("OH_L", "mixed"),
     ("Synth Drums", "mixed"), ("Drum Loop", "mixed"), ("Bass", "backing"), ("vox oh", "backing"),
     ("Guitar Loop", "backing"), ("minilogue", "backing")],
)  # fmt: skip
def test_a_name_tells_what_a_track_is(name, cls):
    assert kind_by_name(name).cls == cls


def test_a_class_may_name_several_drums():
    assert kind_of("kick clap").labels == {"kick", "snare"}
    assert kind_of("hat_open").labels == kind_of("hihat").labels == {"hihat"}
    assert not kind_of("out").labels
    for wrong in ("", "drumm", "kick backing"):
        with pytest.raises(ValueError, match="not a class of a track"):
            kind_of(wrong)


def test_single_drums_label_themselves(tmp_path):
    hard = [1.0 if k % 2 else 0.25 for k in range(len(KICKS))]
    folder = song(tmp_path / "song", kick=track("kick", KICKS, hard), hats=track("hat_closed", HATS))
    [chunk] = made(folder, tmp_path / "out")
    assert np.allclose(times_of(tmp_path / "out", chunk, "kick"), KICKS, atol=0.004)
    assert np.allclose(times_of(tmp_path / "out", chunk, "hihat"), HATS, atol=0.004)
    labels = read_labels(tmp_path / "out" / f"{chunk.name}.tsv")
    assert {x.label for x in labels} == {"kick", "hihat"}
    assert all(x.prominence > 0 for x in labels)
    kicks = [x.velocity for x in labels if x.label == "kick"]
    assert max(kicks[::2]) < 0.6 < 0.9 < min(kicks[1::2])
    assert chunk.confidence == 1.0 and "complete" not in chunk.details
    assert chunk.stems == ("drums", "backing") and chunk.licence == "CC0"
    files = [tmp_path / "out" / f"{chunk.name}{stem}.flac" for stem in ("", ".drums", ".backing")]
    mix, drums, backing = (sf.read(file)[0] for file in files)
    assert np.allclose(mix, drums + backing, atol=1e-4)
    assert np.abs(backing).max() == pytest.approx(0.1, abs=1e-3)


def test_layers_are_one_hit(tmp_path):
    late = [time + 0.008 for time in KICKS]
    folder = song(tmp_path / "song", kick=track("kick", KICKS), sub_kick=track("kick", late, [0.5] * len(late)))
    [chunk] = made(folder, tmp_path / "out")
    assert np.allclose(times_of(tmp_path / "out", chunk, "kick"), KICKS, atol=0.004)


def test_what_may_be_an_echo_is_neither_hit_nor_silence(tmp_path):
    claps = [1.0 + k for k in range(9)]
    echoes = [time + 0.07 for time in claps]
    folder = song(tmp_path / "song", clap=track("snare", [*claps, *echoes], [1.0] * 9 + [0.9] * 9))
    [chunk] = made(folder, tmp_path / "out")
    assert np.allclose(times_of(tmp_path / "out", chunk, "snare", least=0.0), claps, atol=0.004)
    assert np.allclose(times_of(tmp_path / "out", chunk, "snare"), sorted([*claps, *echoes]), atol=0.004)
    assert chunk.confidence == 0.75


def test_nothing_is_claimed_complete_while_a_mixed_track_sounds(tmp_path):
    kicks, snares = [6.0 + k for k in range(6)], [6.5 + k for k in range(5)]
    beat = track("kick", kicks) + track("snare", snares)
    folder = song(tmp_path / "song", hats=track("hat_closed", HATS), beat=beat)
    alone, both = made(folder, tmp_path / "any")
    assert 5.75 < both.details["start"] < 6.0  # between two hats
    assert alone.seconds == pytest.approx(both.details["start"], abs=0.001)
    assert "complete" not in alone.details and both.details["complete"] == []
    assert not times_of(tmp_path / "any", alone, "kick") and len(times_of(tmp_path / "any", alone, "hihat")) > 15
    named = times_of(tmp_path / "any", both, "kick")
    assert named and all(min(abs(time - kick) for kick in kicks) < 0.005 for time in named)

    _, both = made(folder, tmp_path / "two", "beat.wav,kick snare\n")
    assert both.details["complete"] == ["hihat", "tom", "cymbal"]
    hats = times_of(tmp_path / "two", both, "hihat")
    assert np.allclose(hats, [time for time in HATS if time >= both.details["start"]], atol=0.004)

    [without] = made(folder, tmp_path / "none", "beat.wav,out\n")
    assert "complete" not in without.details and not times_of(tmp_path / "none", without, "kick")
    drums, _ = sf.read(tmp_path / "none" / f"{without.name}.drums.flac")
    assert np.allclose(drums, track("hat_closed", HATS), atol=1e-4)


def test_parts_without_drums_are_backing_alone(tmp_path):
    folder = song(tmp_path / "song", kick=track("kick", [time for time in KICKS if time > 6.5]))
    chunks = made(folder, tmp_path / "out", seconds=6.0)
    assert [c.stems for c in chunks] == [("backing",), ("drums", "backing")]
    assert all(5.5 < c.seconds < 6.5 for c in chunks) and sum(c.seconds for c in chunks) == pytest.approx(SECONDS)
    assert not times_of(tmp_path / "out", chunks[0], "kick")


@pytest.mark.parametrize(
    ("name", "audio", "reason"),
    [("pluck", track("kick", KICKS), "none of its 2 tracks holds drums"),
     ("kick", track("kick", KICKS[:9], seconds=9.0), r"kick.wav lasts 9.0 s and bass.wav 12.0 s"),
     ("kick", track("kick", []), "silent")],
)  # fmt: skip
def test_what_is_no_song_is_refused_with_the_reason(tmp_path, name, audio, reason):
    with pytest.raises(ValueError, match=reason):
        made(song(tmp_path / "song", **{name: audio}), tmp_path / "out")


def test_a_broken_track_is_named(tmp_path):
    folder = song(tmp_path / "song", kick=track("kick", KICKS))
    (folder / "snare.flac").write_text("no music")
    with pytest.raises(ValueError, match=r"snare\.flac: not readable as audio"):
        made(folder, tmp_path / "out")
    [(_, found)] = multitrack.find_songs([folder], {"snare.flac": kind_of("out")})
    with pytest.raises(ValueError, match=r"bass\.wav: more than 0\.1 minutes"):
        multitrack.read_song(found, ShredClassifier(RELEASED), 6.0)


def test_the_command_goes_through_a_library(tmp_path, capfd):
    song(tmp_path / "in" / "one", kick=track("kick", KICKS), oddly_named=track("hat_closed", HATS))
    song(tmp_path / "in" / "two", strings=track("kick", KICKS))
    assert multitrack.main([str(tmp_path / "in"), "--list"]) == 0
    table = capfd.readouterr().out
    assert table.splitlines() == [
        "path,class", "one/bass.wav,backing", "one/kick.wav,kick", "one/oddly_named.wav,backing",
        "two/bass.wav,backing", "two/strings.wav,backing",
    ]  # fmt: skip
    (tmp_path / "tracks.csv").write_text(table.replace("oddly_named.wav,backing", "oddly_named.wav,hihat"))
    words = [tmp_path / "in", "--tracks", tmp_path / "tracks.csv", "--out", tmp_path / "out", "--jobs", "1"]
    assert multitrack.main([str(word) for word in words]) == 0
    manifest = Manifest(tmp_path / "out")
    assert list(manifest.refused()) == ["two"]
    [chunk] = manifest.chunks()
    assert (chunk.song, chunk.source, chunk.method) == ("one", "in", "multitrack")
    assert len(times_of(tmp_path / "out", chunk, "hihat")) == len(HATS)


@pytest.mark.parametrize(
    ("table", "told"),
    [("path,class\nkick.wav,kik\n", "line 2: not a class of a track: 'kik'"),
     ("path,class\nkik.wav,kick\n", "no such track: kik.wav"),
     ("file,class\n", "lacks the columns path")],
)  # fmt: skip
def test_a_wrong_table_is_told(tmp_path, capsys, table, told):
    folder = song(tmp_path / "song", kick=track("kick", KICKS[:2]))
    (tmp_path / "tracks.csv").write_text(table)
    assert multitrack.main([str(folder), "--tracks", str(tmp_path / "tracks.csv"), "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err


def test_wrong_inputs_are_told(tmp_path, capsys, monkeypatch):
    assert multitrack.main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert multitrack.main([str(tmp_path)]) == 2
    assert "no recordings (.wav" in capsys.readouterr().err
    (tmp_path / "kick.m4a").write_bytes(b"?")
    monkeypatch.setenv("PATH", os.devnull)
    assert multitrack.main([str(tmp_path)]) == 2
    assert "kick.m4a needs ffmpeg to be read: apt-get install ffmpeg" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg (apt-get install ffmpeg)")
def test_aac_is_read_through_ffmpeg(tmp_path):
    folder = song(tmp_path / "song", kick=track("kick", KICKS))
    packed = ["ffmpeg", "-nostdin", "-v", "error", "-i", folder / "kick.wav", "-ac", "2", "-c:a", "aac", "-b:a", "128k"]
    subprocess.run([*packed, folder / "kick.m4a"], check=True)
    (folder / "kick.wav").unlink()
    [chunk] = made(folder, tmp_path / "out")
    assert np.allclose(times_of(tmp_path / "out", chunk, "kick", least=0.0), KICKS, atol=0.005)
    (folder / "kick.m4a").write_bytes(b"no music")
    with pytest.raises(ValueError, match=r"kick\.m4a: not readable as audio"):
        made(folder, tmp_path / "out")
