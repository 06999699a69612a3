"""Songs without drums, and percussion that is no drum: made by rule, and labelled as nothing."""

import numpy as np
import pretty_midi
import pytest
import soundfile as sf
import studio

pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)

from dance.labels import GENERAL_MIDI, LABELS, OTHER
from labelgen import guitars, midi, percussion, solos
from labelgen.arrange import add_percussion
from labelgen.chunks import Manifest, read_labels
from labelgen.kits import Hit, KitLibrary
from labelgen.material import read_manifest
from labelgen.synth import SoundFont

FONT = studio.soundfont()
RATE = 44100
needs_font = pytest.mark.skipif(FONT is None, reason="needs Debian's timgm6mb-soundfont")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    assert solos.main(["--out", str(folder), "--songs", str(len(solos.STYLES)), "--seconds", "12"]) == 0
    return folder


@pytest.fixture(scope="module")
def fonts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fonts")
    (folder / "small.sf2").symlink_to(FONT)
    return folder


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.suffix != ".jsonl"}


def sustained(program, pitches, starts, length=0.4):
    part = pretty_midi.Instrument(program)
    part.notes = [pretty_midi.Note(100, p, t, t + length) for t in starts for p in pitches]
    return part


def test_songs_have_notes_and_no_drums(songs):
    files = sorted(songs.glob("*.mid"))
    assert len(files) == len(solos.STYLES)
    for path in files:
        song = midi.read_midi(path)
        assert sum(len(part.notes) for part in song.instruments) > 5, path.name
        assert 4 < song.get_end_time() < 20
        assert not any(part.is_drum or part.program in midi.DRUM_PROGRAMS for part in song.instruments)


def test_seed_decides(songs, tmp_path):
    arguments = ["--songs", str(len(solos.STYLES)), "--seconds", "12"]
    solos.main([*arguments, "--out", str(tmp_path / "same")])
    solos.main([*arguments, "--out", str(tmp_path / "other"), "--seed", "1"])
    assert contents(tmp_path / "same") == contents(songs)
    assert not set(contents(tmp_path / "other").values()) & set(contents(songs).values())


def test_a_strum_runs_over_the_strings():
    spreads, sizes = [], []
    for seed in range(12):
        song = solos.compose((solos.strum,), 12, np.random.default_rng(seed))
        for stroke in guitars.strokes(song.instruments[0], 0, 30):
            sizes.append(len(stroke))
            if len(stroke) > 3:
                spreads.append(stroke[-1].start - stroke[0].start)
    assert 4 <= np.quantile(sizes, 0.9) <= 6
    assert 0.008 < np.median(spreads) < 0.045


@pytest.mark.parametrize("bar", range(4))
def test_guitar_chords_hold_only_their_notes(bar):
    frame = solos.Frame(0.1, 4, 4, 3, solos.PROGRESSIONS[0], 0.0, 0.0)
    shape = solos.fingering(frame.pitches(bar), frame.root(bar), 0)
    assert 4 <= len(shape) <= 6 and shape == sorted(shape)
    classes = {p % 12 for p in shape}
    assert frame.root(bar) in classes <= set(frame.pitches(bar)) and len(classes) > 1


@needs_font
def test_solos_become_chunks_without_labels(songs, fonts, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for style in ("strummed-guitar", "metal", "harp"):
        path = next(songs.glob(f"{style}*"))
        (few / path.name).write_bytes(path.read_bytes())
    studio.song(few / "with drums.mid")
    arguments = [str(few), "--soundfonts", str(fonts), "--jobs", "1", "--stems", "--seconds", "8"]
    assert midi.main([*arguments, "--drumless", "--out", str(tmp_path / "set")]) == 0
    assert midi.main([*arguments, "--drumless", "--out", str(tmp_path / "again")]) == 0
    assert contents(tmp_path / "set") == contents(tmp_path / "again")
    manifest = Manifest(tmp_path / "set")
    assert not manifest.refused()
    chunks = [c for c in manifest.chunks() if "with drums" not in c.song]
    assert len({c.song for c in chunks}) == 3 and any("with drums" in c.song for c in manifest.chunks())
    for chunk in chunks:
        assert chunk.stems == ("backing",) and chunk.method == "midi" and chunk.details["programs"]
        assert read_labels(tmp_path / "set" / f"{chunk.name}.tsv") == []
        audio, _ = sf.read(tmp_path / "set" / f"{chunk.name}.flac")
        assert np.abs(audio).max() == pytest.approx(1, abs=1e-3)


@needs_font
def test_drums_among_the_melodic_instruments_are_no_backing(fonts, tmp_path):
    song = pretty_midi.PrettyMIDI()
    song.instruments = [sustained(program, [60], np.arange(1, 6)) for program in sorted(midi.DRUM_PROGRAMS)]
    (tmp_path / "in").mkdir()
    song.write(str(tmp_path / "in" / "taiko.mid"))
    arguments = [str(tmp_path / "in"), "--soundfonts", str(fonts), "--jobs", "1", "--drumless"]
    assert midi.main([*arguments, "--out", str(tmp_path / "set")]) == 0
    assert "no notes but" in Manifest(tmp_path / "set").refused()["taiko.mid#0"]


def test_the_pick_clicks_at_the_strokes_only():
    part = sustained(25, [40, 47, 52], [1.0, 2.0, 3.0])
    played = guitars.strokes(part, 0.5, 4.0)
    assert [len(stroke) for stroke in played] == [3, 3, 3]
    noise = guitars.pick_noise(played, 4.0, RATE, 0.5, np.random.default_rng(1))
    near = np.zeros(len(noise), bool)
    for stroke in played:
        at = round(stroke[0].start * RATE)
        near[at - 100 : at + round(0.12 * RATE)] = True
        assert np.abs(noise[at - 100 : at + 2000]).max() > 1e-3
    assert np.abs(noise[~near]).max() < 1e-6 < np.abs(noise).max() < 0.5


@needs_font
def test_driven_guitars_pass_an_amplifier():
    font = SoundFont(FONT, RATE)
    clean, driven = sustained(25, [45], [0.2, 0.7], 0.45), sustained(30, [45], [0.2, 0.7], 0.45)
    rng = np.random.default_rng(3)
    through = guitars.amplify(font.render([driven], 0, 1.5), RATE, rng)

    def crest(audio):
        return np.abs(audio).max() / np.sqrt(np.mean(np.square(audio)))

    assert crest(through) < crest(font.render([driven], 0, 1.5))
    both = guitars.play(font, [clean, driven], 0.0, 1.5, np.random.default_rng(0))
    assert len(both) == round(1.5 * RATE) and np.isfinite(both).all() and np.abs(both).max() > 0.01


def test_made_percussion_is_short_bright_and_reproducible():
    made = percussion.make_percussion(RATE, np.random.default_rng(5))
    again = percussion.make_percussion(RATE, np.random.default_rng(5))
    assert made.keys() == again.keys()
    for key, sounds in made.items():
        assert all(np.array_equal(a, b) for a, b in zip(sounds, again[key], strict=True))
        assert all(s.dtype == np.float32 and np.abs(s).max() == pytest.approx(1) and s[-1] == 0 for s in sounds)
        assert not np.array_equal(sounds[0], sounds[1])

    def centre(sound):
        power = np.square(np.abs(np.fft.rfft(sound)))
        return float(np.sum(power * np.fft.rfftfreq(len(sound), 1 / RATE)) / power.sum())

    assert 300 < centre(made["rim"][0]) < centre(made[f"perc/{percussion.TAMBOURINE}"][0])
    assert np.square(made["rim"][0][: RATE // 20]).sum() > 0.9 * np.square(made["rim"][0]).sum()


def test_kits_play_made_percussion_only_when_asked(tmp_path):
    library = KitLibrary(read_manifest(studio.one_shots(tmp_path / "shots")), RATE)
    plain = library.draw(np.random.default_rng(0))
    made = library.draw(np.random.default_rng(0), made_percussion=True)
    assert not plain.plays(37) and not plain.plays(54)
    assert all(made.plays(note) for note in (37, 54, 70, 75, 76, 77, 82))
    assert made.sources["rim"] == "made by rule"
    tracks = made.render([Hit(0.1, 37, 1.0)], 0.5, np.random.default_rng(0))
    assert np.abs(tracks["rim"]).max() > 0.01


def test_added_percussion_is_none_of_the_labels():
    hits = [Hit(k * 0.25, (36, 42, 38, 42)[k % 4], 0.5) for k in range(128)]
    seen = set()
    for seed in range(100):
        result, changes = add_percussion(hits, np.random.default_rng(seed))
        assert changes and result == sorted(result)
        kicks = [h for h in result if h.note == 36]
        assert kicks == [h for h in hits if h.note == 36]
        added = {h.note for h in result} - {36, 38, 42}
        assert added and all(GENERAL_MIDI.get(note, OTHER) == OTHER not in LABELS for note in added)
        seen.update(changes)
        if "side-stick in verses" in changes:
            assert {37, 38} <= {h.note for h in result}
    assert {"side-stick in verses", "side-stick for snare", "claves with snare", "shaker for hats",
            "tambourine with the band"} <= seen  # fmt: skip


@needs_font
def test_songs_gain_percussion_by_their_share(fonts, tmp_path):
    studio.song(tmp_path / "songs" / "song.mid", bars=4)
    shots = studio.one_shots(tmp_path / "shots")
    arguments = [str(tmp_path / "songs"), "--soundfonts", str(fonts), "--jobs", "1", "--as-played", "--variants", "4"]
    arguments += ["--oneshots", str(shots), "--soundfont-drums", "0"]

    def render(share):
        assert midi.main([*arguments, "--percussion", share, "--out", str(tmp_path / share)]) == 0
        chunks = Manifest(tmp_path / share).chunks()
        return [(c.details, {x.label for x in read_labels(tmp_path / share / f"{c.name}.tsv")}) for c in chunks]

    assert all(not details["arrangement"] and OTHER not in labels for details, labels in render("0"))
    # one-shots of this pack hold no percussion: it sounds, and is noted, in the kits that have it made by rule
    for details, labels in (changed := render("1")):
        assert details["arrangement"]
        assert (OTHER in labels) == (details["kit"].get("rim") == "made by rule")
    assert any(OTHER in labels for _, labels in changed)
