"""Tracker modules: each instrument is played alone, so its hits are exact; what is doubtful nobody claims."""

import csv
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import studio

from dance.labels import LABELS
from labelgen import modules, openmpt
from labelgen.chunks import Manifest, read_labels
from labelgen.modules import Use, judge
from labelgen.multitrack import kind_of
from labelgen.openmpt import Module

RATE = studio.RATE
ROW = 0.12
"""Seconds: six ticks of 20 ms."""
SECONDS = 4 * 64 * ROW
PERIODS = [428, 404, 381, 360, 339, 320, 302, 285]
PITCH = 7093789.2 / 2 / PERIODS[0]
"""Samples of a second at the first of these."""
KICKS = [row for row in range(256) if row % 8 == 0 or row % 32 == 22]
SNARES = [row for row in range(256) if row % 8 == 4]


@pytest.fixture(autouse=True)
def _library() -> None:
    try:
        openmpt.library()
    except ValueError as error:
        pytest.skip(str(error))


def sound(kind: str) -> bytes:
    """Return a sample of a module: 8 bits, at `PITCH`."""
    if kind == "lead":
        time = np.arange(round(0.3 * PITCH)) / PITCH
        audio = np.sign(np.sin(2 * np.pi * 440 * time)) * np.exp(-time / 0.2)
    else:
        audio = studio._sound(kind, np.random.default_rng(1))
        audio = np.interp(np.arange(0, len(audio), RATE / PITCH), np.arange(len(audio)), audio)
    level = np.round(100 * audio / np.abs(audio).max()).astype(np.int8)
    level[:2] = 0
    return level[: len(level) // 2 * 2].tobytes()


def module(path: Path, names: tuple[str, str, str] = ("bassdrum1", "Snare", "by nobody")) -> Path:
    """Write a module of a kick, each second one soft, a snare and a melody over four patterns."""
    samples = [sound(kind) for kind in ("kick", "snare", "lead")]
    heads = b"".join(
        struct.pack(">22sHBBHH", name.encode(), len(data) // 2, 0, 64, 0, 1)
        for name, data in zip(names, samples, strict=True)
    )
    cells = np.zeros((256, 4, 4), np.uint8)

    def note(row: int, channel: int, period: int, volume: int = 64) -> None:
        cells[row, channel] = [period >> 8, period & 255, (channel + 1) << 4 | 0xC, volume]

    for number, row in enumerate(KICKS):
        note(row, 0, PERIODS[0], 16 if number % 2 else 64)
    for row in SNARES:
        note(row, 1, PERIODS[0])
    for row in range(0, 256, 3):
        note(row, 2, PERIODS[row % len(PERIODS)], 40)
    song = b"song".ljust(20, b"\0") + heads + struct.pack(">22sHBBHH", b"", 0, 0, 0, 0, 1) * 28
    song += bytes([4, 127, *range(4)]).ljust(130, b"\0") + b"M.K." + cells.tobytes() + b"".join(samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(song)
    return path


def made(path: Path, out: Path, *options: str) -> Manifest:
    """Make the chunks of a module in this process."""
    assert modules.main([str(path), "--out", str(out), "--jobs", "1", "--stems", *options]) == 0
    return Manifest(out)


def times_of(out: Path, label: str) -> list[float]:
    """Return when a drum is hit, in the song's seconds."""
    rows = [(chunk, hit) for chunk in Manifest(out).chunks() for hit in read_labels(out / f"{chunk.name}.tsv")]
    return sorted(hit.time + chunk.details["start"] for chunk, hit in rows if hit.label == label)


def test_drums_are_labelled_by_their_own_tracks_and_the_stems_add_up(tmp_path):
    module(tmp_path / "in" / "song.mod")
    manifest = made(tmp_path / "in", tmp_path / "out", "--licence", "CC0", "--seconds", "20")
    chunks = manifest.chunks()
    assert len(chunks) == 2 and sum(chunk.seconds for chunk in chunks) == pytest.approx(SECONDS, abs=0.2)
    for label, rows in (("kick", KICKS), ("snare", SNARES)):
        found = times_of(tmp_path / "out", label)
        assert len(found) == len(rows)
        assert np.allclose(found, ROW * np.array(rows), atol=0.006)
    labels = [label for chunk in chunks for label in read_labels(tmp_path / "out" / f"{chunk.name}.tsv")]
    assert {label.label for label in labels} == {"kick", "snare"}
    kicks = [label.velocity for label in labels if label.label == "kick"]
    assert max(kicks[1::2]) < 0.7 < 0.9 < min(kicks[::2])
    for chunk in chunks:
        assert chunk.stems == ("drums", "backing") and chunk.licence == "CC0" and chunk.method == "modules"
        assert "complete" not in chunk.details
        assert chunk.details["tracks"] == {"kick": ["1 bassdrum1"], "snare": ["2 Snare"]}
        files = [tmp_path / "out" / f"{chunk.name}{stem}.flac" for stem in ("", ".drums", ".backing")]
        mix, drums, backing = (sf.read(file)[0] for file in files)
        assert np.allclose(mix, drums + backing, atol=1e-4)
        assert np.abs(backing).max() > 0.02


def test_mute_instruments_do_not_change_the_rest(tmp_path):
    data = module(tmp_path / "song.mod").read_bytes()

    def played(audible: set[int] | None) -> np.ndarray:
        with Module(data, audible) as song:
            return np.concatenate(list(song.play()))

    whole = played(None)
    assert np.allclose(played({0}) + played({1, 2}), whole, atol=1e-4)
    assert np.allclose(sum(played({number}) for number in range(3)), whole, atol=1e-4)
    assert not played({3}).any()
    with Module(data) as song:
        audio, notes = song.play_notes()
    assert np.allclose(audio, whole, atol=1e-4)
    assert np.allclose([note.time for note in notes[1]], ROW * np.array(SNARES), atol=0.006)
    assert [len(played) for played in notes[:4]] == [len(KICKS), len(SNARES), 86, 0]
    assert len({note.pitch for note in notes[0]}) == 1 and len({note.pitch for note in notes[2]}) == len(PERIODS)


def test_a_table_corrects_what_is_listed(tmp_path, capfd):
    module(tmp_path / "in" / "a" / "song.mod", ("bassdrum1", "Snare", "cowbell"))
    assert modules.main([str(tmp_path / "in"), "--list"]) == 0
    table = capfd.readouterr().out
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["path"] for row in rows] == [f"a/song.mod#{number}" for number in (1, 2, 3)]
    assert [row["class"] for row in rows[:2]] == ["kick", "snare"]
    assert rows[2]["class"].startswith("unsure ")  # which drums it resembles is the classifier's opinion
    assert rows[2]["why"] == "named so, but not used so"
    (tmp_path / "tracks.csv").write_text(
        table.replace("#1,kick", "#1,unsure kick").replace(f"#3,{rows[2]['class']}", "#3,backing")
    )
    [chunk, _] = made(tmp_path / "in", tmp_path / "out", "--tracks", str(tmp_path / "tracks.csv")).chunks()
    assert chunk.details["complete"] == [label for label in LABELS if label != "kick"]
    assert not times_of(tmp_path / "out", "kick") and len(times_of(tmp_path / "out", "snare")) == len(SNARES)


USE = Use(
    100, 1.0, 1, 1.0, 0.1, 0.5, 3000.0, {"kick": 0.0, "snare": 0.0, "hihat": 0.95, "tom": 0.1, "cymbal": 0.1}, False
)


def use(best: str = "hihat", chance: float = 0.95, rival: float = 0.1, **other: object) -> Use:
    """Return a use that is a clear hi-hat's but for what is given."""
    drums = dict.fromkeys(LABELS, rival) | {best: chance}
    return replace(USE, drums=drums, **other)


@pytest.mark.parametrize(
    ("name", "used", "cls"),
    [("greetings to all", use(), "hihat"),
     ("", use("snare"), "snare"),
     ("", use("kick", breadth=100.0), "kick"), ("", use("kick", 0.95, 0.0, breadth=3000.0), "unsure kick"),
     ("", use("snare", 0.95, 0.0, apart=0.1), "unsure snare"), ("", use(apart=0.1), "hihat"),
     ("", use(breadth=2000.0, rival=0.0), "unsure hihat"), ("", use(pitches=5, rival=0.0), "unsure hihat"),
     ("", use("cymbal", length=2.0), "cymbal"), ("", use("cymbal", length=2.0, breadth=800.0), "unsure cymbal"),
     ("", use("snare", breadth=300.0), "unsure snare"),  # a stab
     ("organ", use("snare", breadth=3000.0), "unsure kick snare hihat tom cymbal"),
     ("", use("tom", rival=0.0, breadth=200.0), "unsure tom"), ("", use(length=1.0), "unsure hihat"),
     ("", use(hits=3, rival=0.0), "unsure hihat"), ("", use(own=0.5), "unsure hihat"),
     ("", use(chance=0.95, rival=0.6), "unsure kick snare hihat tom cymbal"),
     ("", use("snare", 0.1, breadth=300.0), "backing"), ("", use("snare", 0.02, 0.01), "unsure"),
     ("strings", use("snare", 0.6, pitches=9, common=0.4, breadth=300.0), "backing"),
     ("strings", use("snare", 0.9, pitches=9, common=0.4), "unsure snare"),
     ("snare", use("snare", 0.3), "snare"), ("snare", use("kick", 0.95, 0.0), "unsure kick snare"),
     ("snare", use("snare", 0.3, 0.0, common=0.5), "unsure snare"), ("snare", use("snare", common=0.5), "snare"),
     ("Metalsnare", use("snare", 0.85, rival=0.6), "snare"), ("Metalsnare", use("kick", 0.7, 0.0), "unsure kick snare"),
     ("tom", use("kick", 0.4, common=0.4, pitches=4), "tom"), ("break beat", use("snare", 0.5, own=0.1), "mixed"),
     ("reverse snare", use("snare", rival=0.0), "unsure snare"), ("groove", use("snare", rival=0.0), "unsure snare"),
     ("", use(kit=True, rival=0.0), "unsure hihat"), ("clap", use("snare"), "clap"),
     ("cowbell", use("tom", 0.3), "perc")],
)  # fmt: skip
def test_what_leaves_a_doubt_is_no_drum(name, used, cls):
    assert judge(name, used)[0] == cls
    kind_of(cls)


def test_what_cannot_be_used_is_told(tmp_path, capfd, monkeypatch):
    folder = tmp_path / "in"
    module(folder / "melody.mod", ("flute", "organ", "bass"))
    data = module(folder / "good.mod").read_bytes()
    (folder / "text.xm").write_text("no music")
    (folder / "cut.mod").write_bytes(data[:500])
    refused = made(folder, tmp_path / "out").refused()
    assert set(refused) == {"melody.mod", "text.xm", "cut.mod"}
    assert refused["text.xm"] == "ValueError: not a module that libopenmpt can read"
    assert "are surely drums" in refused["melody.mod"]
    made(folder, tmp_path / "out")
    assert "1 done before" not in capfd.readouterr().err.splitlines()[-1]
    for table, told in (("song.mod,kick", "not an instrument of"), ("song.mod#1,kick", "no such song: song.mod")):
        (tmp_path / "tracks.csv").write_text(f"path,class\n{table}\n")
        assert modules.main([str(folder), "--tracks", str(tmp_path / "tracks.csv")]) == 2
        assert told in capfd.readouterr().err
    assert modules.main([str(tmp_path / "nowhere")]) == 2
    openmpt.library.cache_clear()
    monkeypatch.setattr(openmpt.ctypes, "CDLL", lambda _: (_ for _ in ()).throw(OSError("gone")))
    assert modules.main([str(folder)]) == 2
    assert "apt-get install libopenmpt0" in capfd.readouterr().err


def test_ctrl_c_ends_a_list_with_its_code(tmp_path, monkeypatch, capfd):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    module(tmp_path / "song.mod")
    monkeypatch.setattr(modules, "read_instruments", interrupted)
    assert modules.main([str(tmp_path), "--list"]) == 130
    assert not capfd.readouterr().out
