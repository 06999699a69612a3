"""Labels made by hand find their place in the recording, or are refused with the evidence."""

import os
import re
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
import soundfile as sf
import studio
from stage import run

from dance.labels import MDB
from labelgen import label_files, manual
from labelgen.align import align
from labelgen.attack import rises_of
from labelgen.chunks import Manifest, read_labels
from labelgen.recordings import Recording

RATE = studio.RATE
SHARED = Path(os.environ.get("DANCE_SHARED", Path(__file__).parents[2] / ".." / "shared"))
SOUNDS = {"kick": "kick", "snare": "snare", "hihat": "hat_closed"}
NOTES = {"kick": 36, "snare": 38, "hihat": 42}


def performance(seed, seconds=25.0, tempo=110.0):
    """Draw a drummer's hits: a pattern of his own with variations, 5 ms of looseness."""
    rng = np.random.default_rng(seed)
    step = 60 / tempo / 4
    chance = {"kick": rng.choice([0.05, 0.9], 16, p=[0.7, 0.3]), "snare": rng.choice([0.03, 0.9], 16, p=[0.8, 0.2])}
    chance["hihat"] = np.tile(rng.choice([0.1, 0.9], 4), 4)
    count = int(seconds / step) - 4
    hits = [
        (1.0 + k * step + rng.normal(0, 0.005), drum)
        for k in range(count)
        for drum in SOUNDS
        if rng.random() < chance[drum][k % 16]
    ]
    return sorted(hits)


def render(hits, seconds=27.0, seed=0):
    rng = np.random.default_rng(seed)
    samples = 0.002 * rng.normal(size=round(seconds * RATE)).astype(np.float32)
    for time, drum in hits:
        sound = studio._sound(SOUNDS[drum], rng)
        at = round(time * RATE)
        samples[at : at + len(sound)] += 0.3 * rng.uniform(0.4, 1) * sound[: len(samples) - at]
    return samples


def in_file(hits, offset, drift):
    """Return the times that a file has whose clock is off."""
    return [(t - offset) / (1 + drift) for t, _ in hits]


@pytest.fixture(scope="module")
def songs():
    """Three songs of one tempo: hits and rises."""
    return [(hits, rises_of(iter([render(hits)]))) for hits in map(performance, range(3))]


@pytest.mark.parametrize(("offset", "drift"), [(0.0, 0.0), (1.93, -0.005), (-1.6, 0.0046), (-2.0, -0.0021)])
def test_offset_and_drift_are_found(songs, offset, drift):
    for hits, rises in songs:
        found = align(in_file(hits, offset, drift), [d for _, d in hits], rises)
        assert not found.refused
        placed = found.offset + (1 + found.drift) * np.array(in_file(hits, offset, drift))
        error = placed - [t for t, _ in hits]
        assert np.median(np.abs(error)) < 0.004 and np.abs(error).max() < 0.008


def test_a_drift_is_found_where_there_is_one_and_not_invented_where_there_is_none(songs):
    """Labels that lie loosely in half a minute fit a line through chance better than a level one."""
    for number, (hits, rises) in enumerate(songs):
        loose = np.random.default_rng(number).normal(0, 0.005, len(hits))
        for drift in (0.0, 0.001, -0.001):
            times = np.array(in_file(hits, 0.3, drift)) + loose
            found = align(times, [d for _, d in hits], rises)
            assert not found.refused and found.offset == pytest.approx(0.3, abs=0.005)
            assert found.drift == pytest.approx(drift, abs=2e-4 if drift else 0)


def test_labels_of_another_song_are_refused(songs):
    for k, (hits, _) in enumerate(songs):
        for other, (_, rises) in enumerate(songs):
            if other != k:
                found = align(in_file(hits, 0.5, 0.001), [d for _, d in hits], rises)
                assert "by chance" in found.refused and "%" in found.refused


def test_a_fill_tells_the_bar():
    """A loop fits a bar off too, but for its fill."""
    bar = [(k * 0.125, d) for k, d in [(0, "kick"), (4, "snare"), (8, "kick"), (12, "snare"), (6, "hihat")]]
    fill = [(14 * 2.0 + k * 0.125, "snare") for k in range(5, 12)]
    hits = sorted([(2.0 + b * 2.0 + t, d) for b in range(16) for t, d in bar] + [(2.0 + t, d) for t, d in fill])
    rises = rises_of(iter([render(hits, seconds=36)]))
    for offset in (0.0, 2.0, -2.0, 1.1):
        found = align(in_file(hits, offset, 0.0), [d for _, d in hits], rises)
        assert not found.refused and found.offset == pytest.approx(offset, abs=0.004)


def test_few_labels_find_no_place(songs):
    assert "at least" in align([1.0, 2.0], ["kick", "snare"], songs[0][1]).refused


def write_midi(path, hits, drum=True, tempo=120):
    midi = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    track = pretty_midi.Instrument(0, is_drum=drum)
    track.notes = [pretty_midi.Note(90, NOTES[d], t, t + 0.1) for t, d in hits]
    midi.instruments.append(track)
    midi.write(str(path))


@pytest.mark.parametrize("drum", [True, False], ids=["channel 10", "another channel"])
def test_midi_is_read(tmp_path, drum):
    hits = performance(0)
    write_midi(tmp_path / "a.mid", hits, drum)
    marks = label_files.read_marks(tmp_path / "a.mid", {})
    assert sorted(m.label for m in marks) == sorted(d for _, d in hits)
    np.testing.assert_allclose([m.time for m in marks], [t for t, _ in hits], atol=0.002)
    assert marks[0].velocity == pytest.approx(90 / 127)


@pytest.mark.parametrize(
    "text",
    [
        "0.5\t0.5\tkick\n1.25\t1.4\tSnare Drum\n\\\t100.0\t200.0\n2\t2\tHH\n",
        "0.5,Kick\n1.25,snare\n2.0,hi-hat closed\n",
        '"TIME","VALUE","LABEL"\n0.5,36,"BD"\n1.25,38,"clap"\n2.0,42,"hihat"\n',
        "0.500000 \t KD\n1.250000 \t SD\n2.0 \t HH\n",
        "time\tlabel\tvelocity\n0.5\tkick\t0.9\n1.25\tsnare\t0.5\n2.0\thihat\t0.5\n",
        "2.0 HH\n0.5 KD\n\n1.25 SD\n",
        "0,5\tkick\n1,25\tsnare\n2\thihat\n",
        "0,500000\t0,600000\tkick\n1,250000\t1,250000\tsnare\n2,000000\t2,000000\thihat\n",
        "time;label\n0,5;kick\n1,25;snare, loud\n2,0;hihat\n",
        "0,5 kick\n1,25 snare\n2,0 hihat\n",
    ],
    ids=[
        "audacity",
        "sonic visualiser",
        "with values",
        "mdb",
        "chunks",
        "spaces",
        "tabs",
        "both times",
        "semicolons",
        "no tabs",
    ],
)
def test_label_files_are_read(tmp_path, text):
    (tmp_path / "a.txt").write_text("\ufeff" + text, encoding="utf-8")
    marks = label_files.read_marks(tmp_path / "a.txt", {})
    assert [(m.time, m.label) for m in marks] == [(0.5, "kick"), (1.25, "snare"), (2.0, "hihat")]


def test_commas_that_may_be_of_decimals_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("0,5120,kick\n1,2500,snare\n")
    with pytest.raises(ValueError, match=r"a\.csv: commas in numbers, or between them\?"):
        label_files.read_marks(tmp_path / "a.csv", {})


def test_a_name_of_two_drums_is_two_hits(tmp_path):
    (tmp_path / "a.txt").write_text("0.5\tkick+snare\n1.0\tBD & HH\n1.5\tride/crash\n2.0\tkick / flam\n")
    names = label_files.read_map('{"ride/crash": null}')
    marks = label_files.read_marks(tmp_path / "a.txt", names)
    assert [(m.time, m.label) for m in marks] == [
        (0.5, "kick"), (0.5, "snare"), (1.0, "hihat"), (1.0, "kick"), (2.0, "kick"),
    ]  # fmt: skip


def test_the_map_tells_what_notes_in_lists_are(tmp_path):
    (tmp_path / "a.txt").write_text("0.5\t0.6\t36\n1.0\t1.1\t38\n")
    with pytest.raises(ValueError, match=r"what is 36 \(1 x\), 38 \(1 x\)\?.*--map"):
        label_files.read_marks(tmp_path / "a.txt", {})
    marks = label_files.read_marks(tmp_path / "a.txt", label_files.read_map('{"36": "kick", "38": null}'))
    assert marks == [(0.5, "kick", 0.0)]


def test_the_tempo_of_any_track_counts(tmp_path):
    tempo, drums = mido.MidiTrack(), mido.MidiTrack()
    for time in (0, 960):
        tempo.append(mido.MetaMessage("set_tempo", tempo=1_000_000 if time else 250_000, time=time))
    drums += [mido.Message("note_on", channel=9, note=36, velocity=90, time=480) for _ in range(4)]
    midi = mido.MidiFile(type=1, ticks_per_beat=480, tracks=[mido.MidiTrack(), drums, tempo])
    midi.save(tmp_path / "a.mid")
    marks = label_files.read_marks(tmp_path / "a.mid", {})
    np.testing.assert_allclose([m.time for m in marks], [0.25, 0.5, 1.5, 2.5], atol=1e-3)
    midi.type = 2
    midi.save(tmp_path / "b.mid")
    with pytest.raises(ValueError, match=r"b\.mid: MIDI format 2"):
        label_files.read_marks(tmp_path / "b.mid", {})


def test_recordings_of_any_name_and_without_a_reader_have_their_line(tmp_path):
    strange = Path(os.fsdecode(bytes(tmp_path) + b"/\xe9t\xe9.wav"))
    (tmp_path / "a.wma").write_bytes(b"no music")
    sf.write(os.fsencode(strange), np.ones(RATE, np.float32), RATE, format="WAV")
    assert Recording(strange).read(0, 1).shape == (RATE,)
    with pytest.raises(ValueError, match="convert it: ffmpeg -i FILE"):
        Recording(tmp_path / "a.wma")


def test_a_damaged_manifest_is_a_line(tmp_path, capsys):
    (tmp_path / "song.wav").write_bytes(b"no music")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.jsonl").write_text("{}\n")
    assert manual.main([str(tmp_path / "song.wav"), "--out", str(tmp_path / "set"), "--jobs", "1"]) == 2
    assert "line 1 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("more", ["", "\tprominence", "\tconfidence\treported"])
def test_tables_bring_their_velocities(tmp_path, more):
    cells = re.sub(r"\w+", "0.7", more)
    (tmp_path / "a.tsv").write_text(f"time\tlabel\tvelocity{more}\n0.5\tkick\t0.9{cells}\n1.25\tsnare\t0.5{cells}\n")
    assert [m.velocity for m in label_files.read_marks(tmp_path / "a.tsv", {})] == [0.9, 0.5]


def test_the_map_decides(tmp_path):
    write_midi(tmp_path / "a.mid", [(0.0, "kick"), (1.0, "snare"), (2.0, "hihat")])
    names = label_files.read_map('{"38": "tom", "42": null, "Ghost Note": "snare"}')
    assert [m.label for m in label_files.read_marks(tmp_path / "a.mid", names)] == ["kick", "tom"]
    (tmp_path / "a.txt").write_text("1.0\tghost-note\n2.0\tverse\n")
    with pytest.raises(ValueError, match=r"verse \(1 x\).*--map"):
        label_files.read_marks(tmp_path / "a.txt", names)
    (tmp_path / "map.json").write_text('{"verse": null, "ghost note": "snare"}')
    assert len(label_files.read_marks(tmp_path / "a.txt", label_files.read_map(str(tmp_path / "map.json")))) == 1


def test_the_map_goes_before_the_rims_of_a_pad(tmp_path):
    midi = pretty_midi.PrettyMIDI()
    track = pretty_midi.Instrument(0, is_drum=True)
    track.notes = [pretty_midi.Note(90, note, k, k + 0.1) for k, note in enumerate((36, 22, 26, 58))]
    midi.instruments.append(track)
    midi.write(str(tmp_path / "a.mid"))
    assert [m.label for m in label_files.read_marks(tmp_path / "a.mid", {})] == ["kick", "hihat", "hihat", "tom"]
    names = label_files.read_map('{"26": "snare", "58": null}')
    assert [m.label for m in label_files.read_marks(tmp_path / "a.mid", names)] == ["kick", "hihat", "snare"]


@pytest.mark.parametrize("text", ["[]", '{"36": "drum"}', "{", "none.json"])
def test_a_wrong_map_says_so(text):
    with pytest.raises(ValueError, match="--map"):
        label_files.read_map(text)


def test_a_folder_becomes_chunks_and_bad_pairs_a_line_each(tmp_path):
    hits = performance(0)
    samples = render(hits)
    folder, out = tmp_path / "Älbum", tmp_path / "set"
    folder.mkdir()
    for name in ("gut – 良い", "other", "text", "alone", "strange", "endless"):
        sf.write(folder / f"{name}.flac", samples, RATE)
    sf.write(folder / "empty.wav", np.zeros(0, np.float32), RATE)
    sf.write(folder / "five.wav", np.repeat(samples[:, None], 5, axis=1), 48000)
    late = [(t - 1.2, d) for t, d in hits]
    write_midi(folder / "gut – 良い.mid", [h for h in late if h[0] >= 0])
    write_midi(folder / "other.mid", performance(2))
    (folder / "text.mid").write_text("not MIDI at all")
    (folder / "strange.txt").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "endless.txt").write_text("".join(f"{k}e5\tKD\n" for k in range(20)))
    (folder / "empty.txt").write_text("".join(f"{t}\t{d}\n" for t, d in hits))
    (folder / "five.txt").write_text("".join(f"{t * 44.1 / 48}\t{d}\n" for t, d in hits))
    assert manual.main([str(folder), "--out", str(out), "--seconds", "10", "--jobs", "1"]) == 0
    refused = Manifest(out).refused()
    reasons = {
        "other.flac": "--as-is takes", "text.flac": "not a readable MIDI", "alone.flac": "no labels beside it",
        "strange.flac": "not a label file", "endless.flac": "tempo", "empty.wav": "no samples",
    }  # fmt: skip
    assert set(refused) == set(reasons)
    assert all(words in refused[unit] for unit, words in reasons.items())
    chunks = [c for c in Manifest(out).chunks() if c.song.startswith("gut")]
    assert len(chunks) == 3 and all(abs(c.details["offset"] - 1.2) < 0.004 for c in chunks)
    found = [x.time + c.details["start"] for c in chunks for x in read_labels(out / f"{c.name}.tsv")]
    np.testing.assert_allclose(found, [t for t, _ in hits if t >= 1.2], atol=0.006)


def test_times_may_be_taken_as_they_are_and_moves_are_told(tmp_path, capsys):
    hits = performance(0)
    sf.write(tmp_path / "song.wav", render(hits), RATE)
    (tmp_path / "song.txt").write_text("".join(f"{t - 0.5}\t{d}\n" for t, d in hits))
    arguments = [str(tmp_path / "song.wav"), "--jobs", "1", "--out"]
    assert manual.main([*arguments, str(tmp_path / "moved")]) == 0
    assert re.search(r"song\.wav: labels moved by \+(49|50)\d ms", capsys.readouterr().err)
    assert manual.main([*arguments, str(tmp_path / "kept"), "--as-is"]) == 0
    assert "moved" not in capsys.readouterr().err.replace(str(tmp_path), "")
    (chunk,) = Manifest(tmp_path / "kept").chunks()
    assert (chunk.details["offset"], chunk.details["evidence"]) == (0.0, "taken as they are")
    found = [x.time + chunk.details["start"] for x in read_labels(tmp_path / "kept" / f"{chunk.name}.tsv")]
    np.testing.assert_allclose(found, [t - 0.5 for t, _ in hits if t >= 0.5], atol=1e-3)


def test_songs_whose_labels_were_corrected_are_made_again(tmp_path, capsys):
    hits = performance(0)
    folder = tmp_path / "songs"
    folder.mkdir()
    for name in "ab":
        sf.write(folder / f"{name}.wav", render(hits), RATE)
        (folder / f"{name}.txt").write_text("".join(f"{t}\t{d}\n" for t, d in hits))
    out = tmp_path / "set"
    arguments = [str(folder), "--jobs", "1", "--as-is", "--seconds", "10", "--out", str(out)]
    assert manual.main(arguments) == 0
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("b-*")}
    (folder / "a.txt").write_text("".join(f"{t}\tsnare\n" for t, _ in hits if t < 8))
    assert manual.main(arguments) == manual.main(arguments) == 0
    assert capsys.readouterr().err.count("1 songs are made again: their labels have changed") == 1
    chunks = Manifest(out).chunks()
    assert sorted(c.song for c in chunks) == ["a.wav", "b.wav", "b.wav", "b.wav"]
    (made,) = (c.name for c in chunks if c.song == "a.wav")
    assert {x.label for x in read_labels(out / f"{made}.tsv")} == {"snare"}
    assert {path.name for path in out.glob("a-*")} == {f"{made}.flac", f"{made}.tsv"}
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("b-*")} == kept


def test_a_label_file_is_found_whatever_its_case(tmp_path):
    for name in ("song.wav", "song[1].wav", "song.MID", "song.txt", "song[1].TXT", "song.jpg", "song2.mid"):
        (tmp_path / name).touch()
    found = {song.path.name: song.labels for _, song in manual.find_songs([tmp_path])}
    assert found == {"song.wav": tmp_path / "song.MID", "song[1].wav": tmp_path / "song[1].TXT"}


def test_labels_elsewhere_are_named(tmp_path, capsys):
    hits = performance(0)
    sf.write(tmp_path / "song.wav", render(hits), RATE)
    (tmp_path / "hand.csv").write_text("".join(f"{t},{d}\n" for t, d in hits))
    out = tmp_path / "set"
    arguments = [str(tmp_path / "song.wav"), "--labels", str(tmp_path / "hand.csv"), "--out", str(out), "--jobs", "1"]
    assert manual.main(arguments) == 0 and len(Manifest(out).chunks()) == 1
    assert manual.main([str(tmp_path), "--labels", str(tmp_path / "hand.csv")]) == 2
    assert manual.main([str(tmp_path / "song.wav"), "--map", "{"]) == 2
    assert manual.main([str(tmp_path / "none.wav")]) == 2
    assert "no such file" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(not (SHARED / "eval" / "mdb-dev").is_dir(), reason="needs the shared songs")
def test_real_songs():
    """Human labels, shifted and stretched at random, come back; those of another song do not fit."""
    folder = SHARED / "eval" / "mdb-dev"
    rng = np.random.default_rng(0)
    songs = {}
    for path in sorted((folder / "audio").iterdir())[:4]:
        rows = [line.split() for line in (folder / "labels" / f"{path.stem}.txt").read_text().splitlines()]
        songs[path.stem] = [(float(t), MDB[c]) for t, c in rows], rises_of(Recording(path).blocks())
    errors = []
    for hits, rises in songs.values():
        times = in_file(hits, rng.uniform(-2, 2), rng.uniform(-0.005, 0.005))
        found = align(times, [d for _, d in hits], rises)
        assert not found.refused
        errors += list(np.abs(found.offset + (1 + found.drift) * np.array(times) - [t for t, _ in hits]))
        for other in songs.values():
            if other[1] is not rises:
                assert align(times, [d for _, d in hits], other[1]).refused
    assert np.median(errors) < 0.005


def test_labels_are_read_where_there_is_no_synthesizer():
    code = "import sys; sys.modules['fluidsynth'] = None; import labelgen.manual, training.evaluate"
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
