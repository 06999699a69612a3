"""MIDI songs become chunks whose labels are what is heard."""

import json
import struct
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
import soundfile as sf
import studio

pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)

from labelgen import drumless, midi, patterns
from labelgen.arrange import arrange
from labelgen.chunks import Manifest, read_labels
from labelgen.kits import BY_RULE, Hit, KitLibrary, attack_of, one_shot
from labelgen.material import read_manifest
from labelgen.synth import SoundFont

FONT = studio.soundfont()
pytestmark = pytest.mark.skipif(FONT is None, reason="needs Debian's timgm6mb-soundfont")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Make a library in the Lakh layout, one file broken, one without drums; one-shots; a soundfont."""
    root = tmp_path_factory.mktemp("material")
    truth = studio.song(root / "songs" / "Some Artist" / "First Söng.mid")
    studio.song(root / "songs" / "Some Artist" / "no drums.mid", drums=False)
    (root / "songs" / "Other").mkdir()
    (root / "songs" / "Other" / "broken.mid").write_bytes(b"MThd, but not really")
    (root / "fonts").mkdir()
    (root / "fonts" / "small.sf2").symlink_to(FONT)
    studio.one_shots(root / "shots")
    return root, truth


def render(material, out, *extra):
    root, _ = material
    arguments = [str(root / "songs"), "--out", str(out), "--soundfonts", str(root / "fonts"), "--jobs", "1"]
    return midi.main([*arguments, "--oneshots", str(root / "shots" / "manifest.csv"), *extra])


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.suffix != ".jsonl"}


@pytest.fixture(scope="module")
def rendered(material, tmp_path_factory):
    out = tmp_path_factory.mktemp("chunks") / "set"
    assert render(material, out, "--stems", "--soundfont-drums", "0", "--split", "train", "--as-played") == 0
    return out


def test_labels_are_the_notes(material, rendered):
    _, truth = material
    (chunk,) = Manifest(rendered).chunks()
    start = chunk.details["start"]
    labels = read_labels(rendered / f"{chunk.name}.tsv")
    assert [(x.label, round(x.velocity, 3)) for x in labels] == [(x.label, round(x.velocity, 3)) for x in truth]
    np.testing.assert_allclose([x.time + start for x in labels], [x.time for x in truth], atol=1.5e-3)


@pytest.mark.parametrize("share", ["0", "1"], ids=["one-shots", "soundfont"])
def test_labels_are_audible_attacks(material, tmp_path, share):
    render(material, tmp_path, "--stems", "--soundfont-drums", share, "--split", "train", "--as-played")
    (chunk,) = Manifest(tmp_path).chunks()
    audio, rate = sf.read(tmp_path / f"{chunk.name}.drums.flac")
    power = np.square(np.diff(audio))
    labels = read_labels(tmp_path / f"{chunk.name}.tsv")
    starts = [round(label.time * rate) for label in labels]
    rises = [power[at : at + 600].mean() / (power[max(0, at - 400) : at - 100].mean() + 1e-12) for at in starts]
    assert all(np.isfinite(label.prominence) for label in labels)
    # the room of one hit may cover the next, but not many
    assert np.mean(np.array(rises) > 2) > 0.9 and np.median(rises) > 4


def test_provenance(material, rendered):
    (chunk,) = Manifest(rendered).chunks()
    assert chunk.song == "Some Artist/First Söng.mid"
    assert (chunk.source, chunk.licence, chunk.method, chunk.seed) == ("songs", "CC0", "midi", 0)
    assert chunk.details["kit"]["kick"] == "alpha"  # split=train leaves beta out
    assert chunk.details["soundfonts"] == ["TimGM6mb.sf2"]
    assert set(chunk.stems) == {"drums", "backing"}
    line = json.loads((rendered / "manifest.jsonl").read_text().splitlines()[0])
    assert line["version"]


def test_bad_files_cost_one_line_each(rendered):
    refused = Manifest(rendered).refused()
    assert "no drums" in refused["Some Artist/no drums.mid#0"]
    assert "not a readable MIDI file" in refused["Other/broken.mid#0"]


def test_second_run_does_nothing_and_a_lost_line_is_made_again(material, rendered, tmp_path):
    before = contents(rendered)
    text = (rendered / "manifest.jsonl").read_text()
    arguments = ("--stems", "--soundfont-drums", "0", "--split", "train", "--as-played")
    assert render(material, rendered, *arguments) == 0
    assert (rendered / "manifest.jsonl").read_text() == text
    rows = [line for line in text.splitlines(keepends=True) if "First" not in line]
    (rendered / "manifest.jsonl").write_text("".join(rows))
    next(rendered.glob("*.drums.flac")).unlink()
    assert render(material, rendered, *arguments) == 0
    assert contents(rendered) == before


def test_seed_decides(material, rendered, tmp_path):
    arguments = ("--stems", "--soundfont-drums", "0", "--split", "train", "--as-played")
    render(material, tmp_path / "same", *arguments)
    render(material, tmp_path / "other", *arguments, "--seed", "1")
    assert contents(tmp_path / "same") == contents(rendered)
    assert contents(tmp_path / "other") != contents(rendered)


def test_no_soundfont_says_what_to_do(material, tmp_path, capsys):
    root, _ = material
    (tmp_path / "none").mkdir()
    assert midi.main([str(root / "songs"), "--soundfonts", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "apt-get install" in capsys.readouterr().err


def test_wrong_shots_are_told_before_any_song_is_blamed(material, tmp_path, capsys):
    assert render(material, tmp_path / "out", "--split", "trian") == 2
    assert "names no one-shots of the split 'trian'" in capsys.readouterr().err
    root, _ = material
    manifest = root / "shots" / "gone.csv"
    rows = (root / "shots" / "manifest.csv").read_text().splitlines()
    manifest.write_text("\n".join([*rows, "nowhere.wav,kick,gamma,CC0,train"]) + "\n")
    arguments = ["--soundfonts", str(root / "fonts"), "--oneshots", str(manifest), "--out", str(tmp_path / "out")]
    assert midi.main([str(root / "songs"), *arguments]) == 2
    assert "nowhere.wav" in capsys.readouterr().err
    assert not Manifest(tmp_path / "out").refused()


def test_every_sound_of_a_kit_is_named(material, rendered):
    (chunk, *_) = Manifest(rendered).chunks()
    assert set(chunk.details["kit"].values()) <= set(chunk.details["sounds"])
    library = KitLibrary(read_manifest(material[0] / "shots" / "manifest.csv"), 44100)
    layered = [kit for kit in (library.draw(np.random.default_rng(k)) for k in range(30)) if "kick/kick" in kit.sources]
    assert layered and all("CC0" in kit.licences for kit in layered)


@pytest.mark.parametrize("option", ["--machines", "--acoustic"])
def test_kits_made_by_rule_are_named_and_labelled(material, tmp_path, option):
    assert render(material, tmp_path, "--soundfont-drums", "0", "--split", "train", option, "1") == 0
    (chunk,) = Manifest(tmp_path).chunks()
    made = [voice for voice, source in chunk.details["kit"].items() if source == BY_RULE]
    assert len(made) > 4 and BY_RULE in chunk.details["sounds"]
    assert {"kick", "snare"} <= {label.label for label in read_labels(tmp_path / f"{chunk.name}.tsv")}


def test_rendering_says_nothing(tmp_path, capfd):
    bass = pretty_midi.Instrument(33)
    bass.notes.append(pretty_midi.Note(90, 40, 0.0, 0.2))
    assert np.abs(SoundFont(FONT, 44100).render([bass], 0.0, 0.3)).max() > 0
    assert "No preset" not in capfd.readouterr().err


def test_a_closed_hat_stops_an_open_one(tmp_path):
    kit = KitLibrary(read_manifest(studio.one_shots(tmp_path / "s")), 44100).draw(np.random.default_rng(0))
    rng = np.random.default_rng(0)
    ringing = kit.render([Hit(0.1, 46, 1.0)], 0.6, rng)["hat_open"]
    choked = kit.render([Hit(0.1, 46, 1.0), Hit(0.15, 42, 1.0)], 0.6, rng)["hat_open"]
    late = slice(int(0.25 * 44100), int(0.3 * 44100))
    assert np.abs(choked[late]).max() == 0 < np.abs(ringing[late]).max()


@pytest.mark.parametrize(("faint", "cut"), [(0.02, 0.02), (0.006, 0.0)])
def test_what_is_faint_for_long_is_no_attack(tmp_path, faint, cut):
    foot, hat = 0.05 * np.ones(round(faint * 44100)), np.ones(2000)
    sf.write(tmp_path / "pedal.wav", np.concatenate([np.zeros(500), foot, hat]), 44100, subtype="FLOAT")
    sound = one_shot(tmp_path / "pedal.wav", 44100)
    assert len(foot) + len(hat) - len(sound) == pytest.approx(round(cut * 44100), abs=30)


def test_drums_on_other_channels_are_not_played_unlabelled(tmp_path):
    song = pretty_midi.PrettyMIDI()
    kit, taiko = pretty_midi.Instrument(0, is_drum=True), pretty_midi.Instrument(116)
    for beat in range(8):
        kit.notes.append(pretty_midi.Note(100, 36, 1 + 0.5 * beat, 1.1 + 0.5 * beat))
        taiko.notes.append(pretty_midi.Note(100, 60, 1.25 + 0.5 * beat, 1.4 + 0.5 * beat))
    song.instruments = [kit, taiko]
    song.write(str(tmp_path / "song.mid"))
    (tmp_path / "small.sf2").symlink_to(FONT)
    arguments = [
        str(tmp_path / "song.mid"),
        "--soundfonts",
        str(tmp_path),
        "--out",
        str(tmp_path / "set"),
        "--jobs",
        "1",
    ]
    assert midi.main([*arguments, "--stems", "--as-played"]) == 0
    chunks = Manifest(tmp_path / "set").chunks()
    assert chunks and all(chunk.stems == ("drums",) for chunk in chunks)


def test_notes_without_length_are_hits(tmp_path):
    song, track = mido.MidiFile(), mido.MidiTrack()
    song.tracks.append(track)
    # a kick twice at once, a roll whose last stroke ends as it begins, a hat that comes again as it ends, a snare last
    events = [(0, 36, 9), (0, 36, 0), (0, 36, 9), (0, 36, 0), (480, 38, 9), (480, 38, 7), (0, 38, 0), (0, 38, 0),
              (480, 42, 9), (240, 42, 0), (0, 42, 9), (0, 42, 0), (240, 38, 9), (0, 38, 0)]  # fmt: skip
    track += [mido.Message("note_on", channel=9, time=time, note=note, velocity=v) for time, note, v in events]
    song.save(tmp_path / "a.mid")
    hits = midi.performance(midi.read_midi(tmp_path / "a.mid"))
    assert [(hit.time, hit.note, round(127 * hit.velocity)) for hit in hits] == [
        (0, 36, 9), (0.5, 38, 9), (1, 38, 7), (1.5, 42, 9), (1.75, 42, 9), (2, 38, 9)
    ]  # fmt: skip


@pytest.mark.parametrize("closed", [True, False], ids=["end of track", "no end of track"])
def test_notes_that_nothing_ends_are_hits(tmp_path, closed):
    song, track = mido.MidiFile(), mido.MidiTrack()
    song.tracks.append(track)
    events = [(0, 36), (480, 42), (0, 38), (480, 36), (240, 36)]
    track += [mido.Message("note_on", channel=9, time=time, note=note, velocity=9) for time, note in events]
    track += [mido.MetaMessage("end_of_track")] * closed
    song.save(tmp_path / "a.mid")
    hits = midi.performance(midi.read_midi(tmp_path / "a.mid"))
    assert [(hit.time, hit.note) for hit in hits] == [(0, 36), (0.5, 38), (0.5, 42), (1, 36), (1.25, 36)]


def test_notes_that_follow_each_other_keep_their_length(tmp_path):
    song, track = mido.MidiFile(), mido.MidiTrack()
    song.tracks.append(track)
    events = [(0, 60, 9), (480, 60, 9), (0, 60, 0), (480, 60, 0)]  # the second begins before the first has ended
    track += [mido.Message("note_on", time=time, note=note, velocity=v) for time, note, v in events]
    song.save(tmp_path / "a.mid")
    (part,) = midi.read_midi(tmp_path / "a.mid").instruments
    assert [(note.start, note.end) for note in part.notes] == [(0, 0.5), (0.5, 1)]


def test_a_folder_is_the_source_whatever_it_is_called_by(tmp_path, monkeypatch):
    studio.song(tmp_path / "album" / "a.mid", bars=1)
    monkeypatch.chdir(tmp_path / "album")
    assert [song.source for _, song in midi.find_songs([Path()], [], None, 1)] == ["album"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert patterns.main(["--out", str(tmp_path / "file" / "songs"), "--songs", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("labelgen: ") and "file" in line


def test_patterns_are_songs_with_drums(tmp_path):
    assert patterns.main(["--out", str(tmp_path), "--songs", str(len(patterns.STYLES)), "--seconds", "10"]) == 0
    files = sorted(tmp_path.glob("*.mid"))
    assert len(files) == len(patterns.STYLES)
    for path in files:
        instruments = midi.read_midi(path).instruments
        assert any(i.is_drum and i.notes for i in instruments) and any(not i.is_drum for i in instruments)
    house = midi.read_midi(next(tmp_path.glob("house*")))
    beats = house.get_beats()
    kicks = [n.start for i in house.instruments if i.is_drum for n in i.notes if n.pitch == patterns.KICK]
    on_beat = [np.abs(beats + 0.5 % (beats[1] - beats[0]) - k).min() < 0.03 for k in kicks]
    assert np.mean(on_beat) > 0.8


def test_drumless_recordings_have_no_labels(tmp_path):
    tone = 0.3 * np.sin(np.arange(44100 * 5) / 20)
    sf.write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), 44100)
    (tmp_path / "m.csv").write_text("path,kind,source,licence,split\ntone.wav,tone,us,CC0,train\n")
    out = tmp_path / "set"
    assert drumless.main([str(tmp_path / "m.csv"), "--out", str(out), "--seconds", "2", "--jobs", "1"]) == 0
    chunks = Manifest(out).chunks()
    assert [round(c.seconds, 2) for c in chunks] == [2.0, 2.0, 1.0]
    assert all(read_labels(out / f"{c.name}.tsv") == [] and c.stems == ("backing",) for c in chunks)


def test_arrangements_keep_the_rest_and_say_what_they_changed():
    hits = [Hit(k * 0.25, (36, 42, 38, 42)[k % 4], 0.5) for k in range(64)]
    seen = {}
    for seed in range(400):
        result, changes = arrange(hits, np.random.default_rng(seed))
        assert result == sorted(result) and (changes or result == sorted(hits))
        for change in changes:
            seen.setdefault(change, []).append({h.note for h in result})
    assert all(42 not in notes for notes in seen["no hats"])
    assert all(37 in notes and 38 not in notes for notes in seen["side-stick for snare"])
    assert {"kick under snare", "clap with snare", "ride for hats", "no kick"} <= set(seen)


def test_an_arrangement_leaves_something_to_hear():
    hits = [Hit(k * 0.25, 42, 0.5) for k in range(8)]
    results = [arrange(hits, np.random.default_rng(seed)) for seed in range(60)]
    assert all(result for result, _ in results)
    assert not any("no hats" in made for _, made in results)


def test_a_font_without_a_drum_bank_is_a_kit_only_if_a_name_says_so(tmp_path):
    font, melodic = (bytearray(FONT.read_bytes()) for _ in range(2))
    at = font.index(b"phdr") + 8
    for number in range(struct.unpack_from("<I", font, at - 4)[0] // 38 - 1):
        place = at + 38 * number + 20
        program, bank = struct.unpack_from("<HH", font, place)
        struct.pack_into("<HH", melodic, place, program, 60 if bank == 128 else bank)
        # all but the first in banks of no song
        struct.pack_into("<HH", font, place, number % 127, 60 + number // 127 if number else 0)
    (tmp_path / "melodic.sf2").write_bytes(melodic)

    def kits(name, preset):
        font[at : at + 20] = preset.ljust(20, b"\0")
        (tmp_path / name).write_bytes(font)
        return SoundFont(tmp_path / name, 22050).drum_presets

    assert SoundFont(tmp_path / "melodic.sf2", 22050).drum_presets == []  # steel drums are among them
    assert kits("OnlyPiano.sf2", b"Piano 1") == []
    assert kits("Some.sf2", b"Jazz Kit") == kits("MyDrums.sf2", b"Jazz") == kits("a_LV2.sf2", b"Pearl") == [(0, 0)]


def test_a_damaged_soundfont_stops_the_run_and_blames_no_song(material, tmp_path, capfd):
    (tmp_path / "cut.sf2").write_bytes(FONT.read_bytes()[:100_000])
    words = [str(material[0] / "songs"), "--soundfonts", str(tmp_path), "--out", str(tmp_path / "set"), "--jobs", "1"]
    assert midi.main(words) == 2
    assert "cut.sf2: FluidSynth cannot read this soundfont" in capfd.readouterr().err.splitlines()[-1]
    assert not any("First" in unit for unit in Manifest(tmp_path / "set").refused())


def test_a_font_with_other_drums_in_the_places_of_toms_plays_toms(tmp_path):
    fonts = {}
    for name in ("kit", "kit_LV2"):
        (tmp_path / f"{name}.sf2").symlink_to(FONT)
        fonts[name] = SoundFont(tmp_path / f"{name}.sf2", 22050)

    def hit(font: str, pitch: int) -> np.ndarray:
        drums = pretty_midi.Instrument(0, is_drum=True, name="drums")
        drums.notes.append(pretty_midi.Note(100, pitch, 0.1, 0.2))
        return fonts[font].render([drums], 0.0, 0.5)

    np.testing.assert_array_equal(hit("kit_LV2", 48), hit("kit", 45))
    np.testing.assert_array_equal(hit("kit_LV2", 38), hit("kit", 38))
    assert np.abs(hit("kit", 48) - hit("kit", 45)).max() > 0.01


def test_a_font_knows_what_its_kits_play_and_how_brushes_strike():
    font = SoundFont(FONT, 22050)
    brushes = (128, 40)
    assert brushes in font.drum_presets
    assert font.heard_at(Hit(0.0, 38, 1.0), brushes) is not None and font.heard_at(Hit(0.0, 5, 1.0), brushes) is None
    strokes = [font.strike(note, 100, 0.5, brushes) for note in (38, 40)]
    np.testing.assert_array_equal(*strokes)


def test_of_controllers_before_the_stretch_the_last_holds():
    font = SoundFont(FONT, 22050)

    def held(*values: tuple[int, float]) -> np.ndarray:
        organ = pretty_midi.Instrument(16)
        organ.notes.append(pretty_midi.Note(100, 60, 29.5, 31.0))
        organ.control_changes = [pretty_midi.ControlChange(7, value, time) for value, time in values]
        return font.render([organ], 30.0, 0.5)

    np.testing.assert_array_equal(held((127, 0.0), (20, 5.0)), held((20, 5.0)))
    assert np.abs(held((20, 0.0), (127, 5.0))).max() > 5 * np.abs(held((20, 5.0))).max()


def test_the_sixteenth_part_plays_its_own_instrument():
    font = SoundFont(FONT, 22050)
    parts = [pretty_midi.Instrument(program) for program in (0, *range(1, 15), 56)]
    for part, pitch in ((parts[0], 48), (parts[-1], 67)):
        part.notes.append(pretty_midi.Note(100, pitch, 0.0, 0.5))
    together = font.render(parts, 0.0, 0.5)
    np.testing.assert_allclose(together, sum(font.render([part], 0.0, 0.5) for part in parts), atol=1e-6)


@pytest.mark.parametrize("note", [36, 42, 44, 49])
def test_a_soundfonts_hit_is_heard_when_its_sample_rises(note):
    font = SoundFont(FONT, 44100)
    kit = font.drum_presets[0]
    for time, velocity in ((0.0, 1.0), (0.1234, 0.4), (0.3001, 0.7)):
        hit = Hit(time, note, velocity)
        audio = font.render([midi.as_instrument([hit])], 0.0, 0.6, kit)
        assert attack_of(audio, 44100) / 44100 == pytest.approx(font.heard_at(hit, kit), abs=3e-4)


def test_labels_of_a_soundfonts_drums_are_attacks_not_notes(tmp_path):
    song = pretty_midi.PrettyMIDI()
    kit = pretty_midi.Instrument(0, is_drum=True)
    kit.notes = [pretty_midi.Note(100, 44, 1.0 + beat, 1.1 + beat) for beat in range(4)]  # late in this font
    song.instruments.append(kit)
    song.write(str(tmp_path / "song.mid"))
    (tmp_path / "small.sf2").symlink_to(FONT)
    words = [str(tmp_path / "song.mid"), "--soundfonts", str(tmp_path), "--as-played", "--jobs", "1"]
    assert midi.main([*words, "--out", str(tmp_path / "set")]) == 0
    (chunk,) = Manifest(tmp_path / "set").chunks()
    labels = read_labels(tmp_path / "set" / f"{chunk.name}.tsv")
    late = [x.time + chunk.details["start"] - note.start for x, note in zip(labels, kit.notes, strict=True)]
    font, preset = SoundFont(FONT, 44100), tuple(chunk.details["drum_preset"])
    attack = font.heard_at(Hit(0.0, 44, 100 / 127), preset)
    assert all(attack - 1e-4 <= x <= attack + 1.6e-3 for x in late)  # notes begin on the edges of blocks of 1.5 ms


def test_an_open_hat_that_a_pack_lacks_is_no_crash(tmp_path):
    items = [item for item in read_manifest(studio.one_shots(tmp_path / "s")) if item.cls != "hat_open"]
    crash = items[0]._replace(cls="crash", source="cymbals")
    kit = KitLibrary([*items, crash], 44100).draw(np.random.default_rng(0))
    assert kit.sources["hat_open"] in ("alpha", "beta") and kit.sources["crash"] == "cymbals"


def test_half_a_song_is_not_left_and_ctrl_c_is_no_traceback(tmp_path, monkeypatch, capsys):
    class Song:
        def write(self, path: str) -> None:
            Path(path).write_bytes(b"MThd")
            raise KeyboardInterrupt

    monkeypatch.setattr(patterns, "compose", lambda *_: Song())
    assert patterns.main(["--out", str(tmp_path / "songs"), "--songs", "1"]) == 130
    assert "Traceback" not in capsys.readouterr().err and not list((tmp_path / "songs").iterdir())
