"""What a person sees and hears of labels is what the labels say."""

import dataclasses
import re

import numpy as np
import pytest
import soundfile as sf
import studio

pytest.importorskip("matplotlib")
pytest.importorskip("mir_eval")

from matplotlib.image import imread

from labelgen import review
from labelgen.chunks import Label, Manifest, read_labels

WRONG = {
    "a-name": "1.0\tKick\t0.5",
    "endless": "inf\tkick\t0.5",
    "before": "-1.0\tkick\t0.5",
    "no-time": "nan\tkick\t0.5",
    "midi": "1.0\tkick\t127",
    "no-velocity": "1.0\tkick\tnan",
    "short": "1.0\tkick",
}
"""Chunks and a line that no label table has."""


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    folder = studio.chunk_set(tmp_path_factory.mktemp("chunks") / "grid", count=4)
    manifest = Manifest(folder)
    manifest.refuse("a/bad one.mid#0", "ValueError: not a readable MIDI file (EOFError: )")
    for number in (12, 34567):
        manifest.refuse(f"{number}.mid#0", f"ValueError: {number} notes; at most 100000 are read")
    first = manifest.chunks()[0]
    manifest.add([dataclasses.replace(first, name="gone", unit="gone")])
    for name, row in WRONG.items():
        manifest.add([dataclasses.replace(first, name=name, unit=name)])
        (folder / f"{name}.tsv").write_text(f"time\tlabel\tvelocity\n0.5\tkick\t0.5\n{row}\n")
    return folder


@pytest.fixture(scope="module")
def reviewed(chunks, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert review.main([str(chunks), "--out", str(out), "--draw", "10"]) == 0
    return out


def test_the_report_counts_what_is_there(reviewed):
    text = (reviewed / "report.md").read_text()
    # 4 chunks of 8 s: 30 steps each of kick, hat, snare, hat
    assert "# grid" in text and "4 chunks of 4 songs, 0.01 hours, 120 labels" in text
    assert "| kick | 32 | 26.7% | 100.0% |" in text
    assert "| hihat | 60 | 50.0% | 100.0% |" in text
    assert "| tom | 0 | 0.0% | 0.0% | nan |" in text
    assert "| CC0 | 4 |" in text and "| grid | 4 |" in text and "| mix + drums + backing | 4 |" in text


def test_the_report_says_what_was_refused_and_what_is_lost(reviewed):
    text = (reviewed / "report.md").read_text()
    assert "Refused: 3 of 15 units (20.0%)" in text
    assert "| ValueError: N notes; at most N are read | 2 | 66.7% | 12.mid#0 |" in text
    assert "| ValueError: not a readable MIDI file (EOFError: ) | 1 |" in text
    assert re.search(r"not usable\n\n- gone: .*No such file", text)
    assert all(re.search(rf"- {name}: \S+{name}\.tsv: line 3 \(", text) for name in WRONG)


def test_labels_are_read_by_time(tmp_path):
    (tmp_path / "a.tsv").write_text("time\tlabel\tvelocity\n1.5\tkick\t1\n0.5\tclap\t0\n")
    assert read_labels(tmp_path / "a.tsv", foreign=True) == [Label(0.5, "clap", 0.0), Label(1.5, "kick", 1.0)]
    with pytest.raises(ValueError, match=r"a\.tsv: line 3 \(unknown label: clap\)"):
        read_labels(tmp_path / "a.tsv")


def test_every_picture_and_sound_of_the_report_is_there(reviewed):
    text = (reviewed / "report.md").read_text()
    files = re.findall(r"\]\(([^)]+)\)", text)
    assert len(files) == 1 + 2 * 4
    assert all((reviewed / file).stat().st_size > 1000 for file in files)
    assert not list(reviewed.glob("*.part"))


def test_labels_are_drawn_in_their_colours(reviewed):
    pixels = (imread(reviewed / "grid-0.png")[..., :3] * 255).round().astype(int).reshape(-1, 3)
    colours = {tuple(pixel) for pixel in np.unique(pixels, axis=0)}

    def there(name):
        return tuple(bytes.fromhex(review.COLOUR[name][1:])) in colours

    assert len(set(review.COLOUR.values())) == len(review.NAMES)
    assert all(there(name) for name in ("kick", "snare", "hihat"))
    assert not there("other")


def test_clicks_are_at_the_labels_louder_with_velocity_and_of_one_pitch_each():
    rate = 8000
    labels = [Label(0.5, "kick", 1.0), Label(1.0, "snare", 1.0), Label(1.5, "kick", 0.25), Label(2.0, "other", 1.0)]
    track = review.clicks(labels, 20000, rate)
    assert len(track) == 20000 and track.dtype == np.float32
    pieces = [track[round(x.time * rate) : round(x.time * rate) + 400] for x in labels]
    assert all(np.abs(piece).max() > 0 for piece in pieces)
    assert np.abs(track).sum() == pytest.approx(sum(np.abs(piece).sum() for piece in pieces), rel=0.1)
    assert np.abs(pieces[2]).max() == pytest.approx(0.25 * np.abs(pieces[0]).max())
    pitches = [np.argmax(np.abs(np.fft.rfft(piece, rate))) for piece in pieces]
    np.testing.assert_allclose(pitches, [review.PITCH[x.label] for x in labels], atol=15)
    assert len(set(review.PITCH.values())) == len(review.NAMES) == len(review.PITCH)
    assert np.abs(review.clicks([], 100, rate)).max() == 0


def test_left_is_the_mix(chunks, reviewed):
    mix, rate = sf.read(chunks / "grid-1.flac")
    both, again = sf.read(reviewed / "grid-1.clicks.flac")
    assert again == rate and both.shape == (len(mix), 2)
    np.testing.assert_allclose(both[:, 0], 0.9 * mix / np.abs(mix).max(), atol=1e-3)
    assert np.abs(both).max() <= 1 and np.abs(both[:, 1] - 0.25 * both[:, 0]).max() > 0.1


@pytest.mark.parametrize("bpm", [75, 100, 120, 150])
def test_tempo_from_labels(bpm):
    beats = 0.3 + np.arange(40) * 60 / bpm
    labels = [Label(t, ("kick", "snare")[k % 2], 0.8) for k, t in enumerate(beats)]
    labels += [Label(t + 30 / bpm, "hihat", 0.5) for t in beats]
    assert review.tempo(sorted(labels)) == pytest.approx(bpm, rel=0.03)


def test_no_tempo_without_a_pulse():
    times = np.sort(np.random.default_rng(0).uniform(0, 60, 40))
    assert review.tempo([Label(float(t), "kick", 1.0) for t in times]) == 0
    assert review.tempo([]) == 0


def test_one_chunk_only(chunks, tmp_path):
    assert review.main([str(chunks), "--chunk", "grid-2", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid-2.clicks.flac", "grid-2.png"]


def test_a_chunk_without_labels_and_a_name_of_any_length(tmp_path):
    folder = tmp_path / "set"
    writer = review.Manifest(folder)
    folder.mkdir()
    sf.write(folder / "still.flac", np.zeros(44100), 44100)
    (folder / "still.tsv").write_text("time\tlabel\tvelocity\n")
    writer.add([review.Chunk("still", "u", "s" * 300, "日" * 300 + "\udcff", "", "none", 0.0, 1.0)])
    assert review.main([str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "| none given | 1 |" in (tmp_path / "out" / "report.md").read_text()


def test_a_name_with_dollars_is_no_formula(chunks, tmp_path):
    chunk = dataclasses.replace(Manifest(chunks).chunks()[0], song="A$_$B.mid", source="$x^$")
    review.show(chunks, chunk, tmp_path)
    assert (tmp_path / f"{chunk.name}.png").stat().st_size > 1000


@pytest.mark.parametrize("words", [["nowhere"], ["{set}", "--chunk", "nobody"], ["{set}", "--chunk", "gone"]])
def test_user_errors(chunks, tmp_path, capsys, words):
    assert review.main([*[word.format(set=chunks) for word in words], "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("labelgen: ")
