"""Whatever is in a library: a clear line for what is bad, nothing lost of what is good."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile as sf
import studio

pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)

from labelgen import (
    audio,
    drumless,
    four_floor,
    manual,
    midi,
    midi_files,
    modules,
    multitrack,
    noises,
    pseudo,
    remix,
    rooms,
    strums,
)
from labelgen.chunks import Manifest, chunk_name, read_labels
from labelgen.files import find_files, regular_file
from labelgen.pools import Processes
from labelgen.synth import SoundFont

FONT = studio.soundfont()
needs_font = pytest.mark.skipif(FONT is None, reason="needs Debian's timgm6mb-soundfont")
STRANGE = os.fsdecode(b"latin \xe9t\xe9 \xff.mid")  # a name in no encoding


def notes(path: Path, count: int, ticks: int = 1, tempo: int = 500_000, resolution: int = 480) -> None:
    """Write a MIDI file with `count` drum hits, quickly."""
    events = bytearray(b"\x00\xff\x51\x03" + tempo.to_bytes(3, "big") + b"\x00\x99\x24\x00")
    events += b"".join(bytes((ticks, 36 + 2 * (k % 2), 100, 1, 36 + 2 * (k % 2), 0)) for k in range(count))
    events += b"\x00\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, resolution)
    path.write_bytes(header + b"MTrk" + struct.pack(">I", len(events)) + events)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs") / "library"
    good = ["日本語/曲 №1.mid", "日本語/曲 №2.MID", "é́ clair/ñ\u202e\u0007.kar", STRANGE, "a" * 240 + ".mid"]
    for number, name in enumerate(good):
        studio.song(root / name, bars=1, seed=number)
    (root / "text.mid").write_text("Dear diary,\n" * 1000)
    (root / "empty.mid").write_bytes(b"")
    (root / "cut.mid").write_bytes((root / good[0]).read_bytes()[:120])
    notes(root / "million.mid", 1_000_000)
    notes(root / "many.mid", 110_000)
    notes(root / "slow.mid", 100, ticks=127, tempo=0xFFFFFF, resolution=1)
    notes(root / "fast.mid", 5000, tempo=1)
    notes(root / "no beat.mid", 100, resolution=0)
    (root / "loop.mid").symlink_to("loop.mid")
    (root / "gone.mid").symlink_to("nowhere.mid")
    (root / "folder.mid").mkdir()
    (root / "日本語" / "up").symlink_to(root, target_is_directory=True)
    os.mkfifo(root / "pipe.mid")
    studio.song(root.parent / "elsewhere" / "linked.mid", bars=1)
    (root / "link").symlink_to(root.parent / "elsewhere", target_is_directory=True)
    (root / "fonts").mkdir()
    (root / "fonts" / "broken.sf2").write_bytes(b"not a font")
    if FONT:
        (root / "fonts" / "small.sf2").symlink_to(FONT)
    return root, [*good, "link/linked.mid"]


@pytest.fixture(scope="module")
def made(library, tmp_path_factory):
    root, _ = library
    out = tmp_path_factory.mktemp("made")
    words = [root, "--out", out, "--soundfonts", root / "fonts", "--jobs", "1", "--as-played"]
    done = subprocess.run(
        [sys.executable, Path(midi.__file__), *words],
        capture_output=True,
        timeout=300,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},  # the poorest terminal
    )
    return out, done


@needs_font
def test_nothing_good_is_lost(library, made):
    _, good = library
    out, done = made
    assert done.returncode == 0, done.stderr
    chunks = Manifest(out).chunks()
    assert sorted(c.song for c in chunks) == sorted(good)
    assert len({c.name for c in chunks}) == len(chunks)
    for chunk in chunks:
        assert read_labels(out / f"{chunk.name}.tsv")
        assert (out / f"{chunk.name}.flac").stat().st_size > 1000


@needs_font
def test_each_bad_file_has_its_line(made):
    out, done = made
    expected = {
        "text.mid": "not a readable MIDI file",
        "empty.mid": "empty",
        "cut.mid": "not a readable MIDI file",
        "million.mid": "6.0 MB; at most 1 MB",
        "many.mid": "110000 notes; at most 100000",
        "slow.mid": "hours, at most 3 are read: is the tempo right?",
        "fast.mid": "5000 drum hits a second: is the tempo right?",
        "no beat.mid": "not a readable MIDI file",
        "loop.mid": "Too many levels of symbolic links",
        "gone.mid": "No such file",
        "pipe.mid": "not a regular file",
    }
    refused = Manifest(out).refused()
    assert sorted(refused) == sorted(f"{name}#0" for name in expected)
    for name, reason in expected.items():
        assert reason in refused[f"{name}#0"]
    told = done.stderr.decode().replace("\r", "\n").splitlines()
    assert len([line for line in told if line.startswith("refused ")]) == len(expected)
    assert any("not a soundfont" in line and "broken.sf2" in line for line in told)
    assert not any("Traceback" in line for line in told)


def test_a_huge_file_is_not_even_opened(library, monkeypatch):
    root, _ = library
    monkeypatch.setattr("labelgen.midi_files.mido.MidiFile", lambda *_: pytest.fail("opened"))
    with pytest.raises(ValueError, match="at most 1 MB"):
        midi_files.read_midi(root / "million.mid")
    with pytest.raises(ValueError, match="regular"):
        midi_files.read_midi(root / "pipe.mid")


def test_too_many_notes_are_counted_not_sorted(library, monkeypatch):
    root, _ = library
    monkeypatch.setattr("labelgen.midi_files.pretty_midi.PrettyMIDI", lambda **_: pytest.fail("parsed"))
    with pytest.raises(ValueError, match="110000 notes"):
        midi_files.read_midi(root / "many.mid")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_has_its_line(tmp_path):
    studio.song(tmp_path / "a.mid")
    (tmp_path / "a.mid").chmod(0)
    with pytest.raises(PermissionError):
        midi_files.read_midi(tmp_path / "a.mid")
    (tmp_path / "closed").mkdir(mode=0)
    assert [key for key, _ in find_files([tmp_path], (".mid",))] == ["a.mid", "closed"]


def test_a_folder_that_cannot_be_listed_is_not_forgotten(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    studio.song(tmp_path / "z.mid")
    listed = Path.iterdir

    def iterdir(self):
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = dict(find_files([tmp_path], (".mid",)))
    assert list(found) == ["closed", "z.mid"]
    with pytest.raises(PermissionError):
        midi_files.read_midi(found["closed"])


def test_keys_do_not_depend_on_where_the_library_lies_and_never_collide(tmp_path, monkeypatch):
    for name in ("one/a.mid", "one/sub/a.mid", "two/a.mid", "two/a.txt", "three.mid"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    suffixes = (".mid",)

    def keys(*inputs):
        found = list(find_files([Path(i) for i in inputs], suffixes))
        assert all(path.is_absolute() and path.name == Path(key).name for key, path in found)
        return [key for key, _ in found]

    monkeypatch.chdir(tmp_path)
    assert keys("one") == keys(tmp_path / "one") == keys("two/../one") == ["a.mid", "sub/a.mid"]
    assert keys("one", "two") == ["one/a.mid", "one/sub/a.mid", "two/a.mid"]
    assert keys("one/a.mid") == ["a.mid"]
    assert keys("one/a.mid", "two/a.mid") == ["one/a.mid", "two/a.mid"]
    assert keys("one", "one/a.mid", "one", "three.mid") == ["one/a.mid", "one/sub/a.mid", "three.mid"]
    assert keys("two/a.txt") == ["a.txt"]  # named, so wanted
    assert keys("nowhere.mid") == ["nowhere.mid"]


def test_what_macos_keeps_beside_files_is_no_file_of_the_library(tmp_path):
    for name in ("kick.flac", "._kick.flac", ".hidden.flac"):
        (tmp_path / name).write_bytes(b"x")
    assert [key for key, _ in find_files([tmp_path], (".flac",))] == [".hidden.flac", "kick.flac"]
    assert [key for key, _ in find_files([tmp_path / "._kick.flac"], (".flac",))] == ["._kick.flac"]  # named, so wanted


def test_names_of_chunks_are_plain_and_differ():
    keys = ["日本.mid", "本日.mid", "x/日本.mid", STRANGE, "a b.mid", "a-b.mid"]
    made = [chunk_name(key, 0, "01") for key in keys]
    assert len(set(made)) == len(keys)
    assert all(name.isascii() and name.replace("-", "").isalnum() and name.endswith("-0-01") for name in made)


def test_sizes(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert regular_file(tmp_path / "a", 5) == 5
    with pytest.raises(ValueError, match="at most"):
        regular_file(tmp_path / "a", 4)
    with pytest.raises(ValueError, match="folder"):
        regular_file(tmp_path, 4)
    with pytest.raises(FileNotFoundError):
        regular_file(tmp_path / "b", 4)


@needs_font
def test_a_rendering_does_not_depend_on_the_one_before():
    font = SoundFont(FONT, studio.RATE)
    drums, bass = pretty_midi.Instrument(0, is_drum=True), pretty_midi.Instrument(33)
    drums.notes = [pretty_midi.Note(100, 36, 0.1, 0.2), pretty_midi.Note(60, 38, 0.3, 0.4)]
    bass.notes = [pretty_midi.Note(100, 40, 0.0, 1.0)]
    first = font.render([drums], 0.0, 0.5)
    font.render([bass], 0.2, 0.3)
    np.testing.assert_array_equal(font.render([drums], 0.0, 0.5), first)
    assert np.abs(first).max() > 0.01


@needs_font
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "no such file or folder: nowhere"),
        (["{root}/fonts"], "no MIDI files"),
        (["{root}", "--oneshots", "nowhere.csv"], "nowhere.csv"),
        (["{root}", "--jobs", "0"], "--jobs"),
        (["{root}", "--seconds", "nan"], "--seconds"),
        (["{root}", "--seconds", "0.05"], "--seconds"),
        (["{root}", "--machines", "7"], "--machines"),
        (["{root}", "--acoustic", "nan"], "--acoustic"),
        (["{root}", "--percussion", "-1"], "--percussion"),
        (["{root}", "--soundfont-drums", "1.5"], "--soundfont-drums"),
        (["{root}", "--seed", "-1"], "--seed"),
        (["{root}", "--sample-rate", "1000000"], "--sample-rate"),
        (["{root}", "--out", "{root}/text.mid"], "text.mid"),
    ],
)
def test_user_errors_are_one_line_and_code_2(library, tmp_path, capsys, words, told):
    root, _ = library
    words = [word.format(root=root) for word in words]
    out = [] if "--out" in words else ["--out", str(tmp_path)]
    try:
        code = midi.main([*words, *out, "--soundfonts", str(root / "fonts")])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_short_row_of_a_drumless_manifest_is_named(tmp_path, capsys):
    (tmp_path / "m.csv").write_text("path,source,licence,split\na.wav,me,CC0,train\nb.wav,me\n")
    assert drumless.main([str(tmp_path / "m.csv"), "--out", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.endswith("m.csv: line 3 ends before the columns licence, split\n")


def test_chunks_too_short_to_learn_from_are_refused_at_once(tmp_path, capsys):
    for script in (audio, drumless, four_floor, manual, midi, modules, multitrack, noises, pseudo, strums):
        with pytest.raises(SystemExit, match="2"):
            script.main([*[str(tmp_path)][: script is not noises], "--seconds", "0.5", "--out", str(tmp_path / "o")])
        assert re.search("--seconds: must be (at least )?1 .*seconds, not 0.5", capsys.readouterr().err)


@pytest.mark.parametrize("script", [strums, rooms, remix, drumless])
def test_a_disk_that_goes_away_stops_the_run_and_blames_no_unit(script, tmp_path, monkeypatch, capsys):
    library, elsewhere = tmp_path / "library", tmp_path / "elsewhere"
    inputs = [library] if script in (strums, rooms) else [library, library] if script is remix else [tmp_path / "m.csv"]
    if script in (rooms, remix):
        studio.chunk_set(library, count=1, seconds=6.0)
    else:
        library.mkdir()
        sf.write(library / "a.wav", np.sin(np.arange(30_000) / 50), 10_000)
        (tmp_path / "m.csv").write_text(f"path,source,licence,split\n{library / 'a.wav'},me,CC0,train\n")

    def vanish(*arguments):
        library.rename(elsewhere)
        return Processes(*arguments)

    monkeypatch.setattr("labelgen.work.Processes", vanish)
    count = ["--count", "1", "--seconds", "3"] if script is strums else []
    command = [*map(str, inputs), *count, "--out", str(tmp_path / "set"), "--jobs", "1"]
    assert script.main(command) == 2
    assert f"labelgen: {library} is gone; when it is back" in capsys.readouterr().err
    monkeypatch.undo()
    elsewhere.rename(library)
    assert script.main(command) == 0
    assert Manifest(tmp_path / "set").refused() == {} and len(Manifest(tmp_path / "set").chunks()) == 1


def test_drumless_recordings_of_floats_may_hold_anything(tmp_path):
    sound = 0.5 * np.sin(np.arange(30_000) / 50)
    sound[1000:1003] = np.nan, np.inf, -np.inf
    sf.write(os.fsencode(tmp_path / STRANGE.replace(".mid", ".wav")), sound, 10_000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("Dear diary")
    rows = f"{STRANGE.replace('.mid', '.wav')},me,CC0,train\ntext.wav,me,CC0,train\n"
    (tmp_path / "m.csv").write_bytes(os.fsencode("path,source,licence,split\n" + rows))
    out = tmp_path / "set"
    command = [str(tmp_path / "m.csv"), "--sample-rate", "10000", "--out", str(out), "--jobs", "1"]
    assert drumless.main(command) == 0
    (chunk,) = Manifest(out).chunks()
    audio, _ = sf.read(out / f"{chunk.name}.flac")
    np.testing.assert_allclose(audio, 2 * np.where(np.isfinite(sound), sound, 0), atol=1e-3)
    assert list(Manifest(out).refused()) == ["text.wav"]
    assert Manifest(out).refused()["text.wav"].startswith("ValueError: not readable as audio")


def test_drumless_manifests_that_are_none(tmp_path, capsys):
    (tmp_path / "m.csv").write_text("path,licence\na.wav,CC0\n")
    assert drumless.main([str(tmp_path / "m.csv"), "--out", str(tmp_path / "o")]) == 2
    assert "lacks the columns source, split" in capsys.readouterr().err
    assert drumless.main([str(tmp_path / "none.csv"), "--out", str(tmp_path / "o")]) == 2
    assert "none.csv" in capsys.readouterr().err
    (tmp_path / "m.csv").write_text("path,source,licence,split\na.wav,me,CC0,train\n")
    assert drumless.main([str(tmp_path / "m.csv"), "--out", str(tmp_path / "o"), "--split", "trian"]) == 2
    assert "split 'trian'" in capsys.readouterr().err
