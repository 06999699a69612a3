"""What is written is what was heard: every format, read back by the libraries of those who use it."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import mir_eval
import numpy as np
import pretty_midi
import pytest
import soundfile
from stage import ROOT, drums, run, tiny, until

from dance import Event, SpecError
from dance.formats import FORMATS, Heard, writers
from dance.formats.midi import TICKS_PER_BEAT
from dance.labels import GENERAL_MIDI, LABELS
from dance.tables import read_hits
from labelgen.label_files import read_marks

RATE = 44100


def heard(count: int = 400, seconds: float = 200.0, seed: int = 0) -> Heard:
    """Return hits at random samples, some of them very close; decided in another order than struck."""
    random = np.random.default_rng(seed)
    samples = np.sort(random.choice(np.arange(0, round((seconds - 1) * RATE), 441), count, replace=False))
    events = [
        Event(LABELS[random.integers(3)], float(velocity), float(confidence), int(sample), int(sample + delay), RATE)
        for sample, velocity, confidence, delay in zip(
            samples, random.random(count), random.random(count), random.integers(400, 4000, count), strict=True
        )
    ]
    return Heard("a söng & more", seconds, RATE, LABELS[:3], tuple(sorted(events, key=lambda event: event.reported)))


def write(tmp_path: Path, form: str, song: Heard) -> list[Path]:
    (writer,) = writers([form])
    return writer(tmp_path / "no.1", song)


@pytest.mark.parametrize(("form", "name"), [("tsv", "no.1.tsv"), ("csv", "no.1.csv")])
def test_tables_hold_everything_in_the_order_of_decision(tmp_path: Path, form: str, name: str) -> None:
    song = heard()
    assert write(tmp_path, form, song) == [tmp_path / name]
    with (tmp_path / name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if form == "tsv" else ","))
    assert [row["label"] for row in rows] == [event.label for event in song.events]
    for column, values in {
        "time": [event.time for event in song.events],
        "velocity": [event.velocity for event in song.events],
        "confidence": [event.confidence for event in song.events],
        "reported": [event.reported / RATE for event in song.events],
    }.items():
        np.testing.assert_allclose([float(row[column]) for row in rows], values, atol=5.1e-4)
    if form == "tsv":
        assert [hit.label for hit in read_hits(tmp_path / name)] == [event.label for event in song.by_time]


def test_midi_is_read_back_within_half_a_tick(tmp_path: Path) -> None:
    song = heard()
    (path,) = write(tmp_path, "midi", song)
    midi = pretty_midi.PrettyMIDI(str(path))
    np.testing.assert_allclose(midi.get_tempo_changes()[1], 120)
    (kit,) = midi.instruments
    assert kit.is_drum
    notes = sorted(kit.notes, key=lambda note: note.start)
    assert [GENERAL_MIDI[note.pitch] for note in notes] == [event.label for event in song.by_time]
    np.testing.assert_allclose(
        [note.start for note in notes], [event.time for event in song.by_time], atol=0.51 * 0.5 / TICKS_PER_BEAT
    )
    assert [note.velocity for note in notes] == [max(1, round(127 * event.velocity)) for event in song.by_time]
    assert all(note.end > note.start for note in notes)
    for pitch in {note.pitch for note in notes}:
        same = [note for note in notes if note.pitch == pitch]
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(same))


def test_midi_is_type_1_on_channel_10_and_as_long_as_the_song(tmp_path: Path) -> None:
    import mido

    (path,) = write(tmp_path, "midi", heard(count=5, seconds=33.0))
    file = mido.MidiFile(path, charset="utf-8")
    assert (file.type, file.ticks_per_beat) == (1, TICKS_PER_BEAT)
    assert file.length == pytest.approx(33.0)
    assert {message.channel for message in file.tracks[1] if not message.is_meta} == {9}
    assert file.tracks[0].name == "a söng & more"


def test_midi_has_no_note_for_a_label_of_ones_own(tmp_path: Path) -> None:
    event = Event("gong", 1, 1, 0, 0, RATE)
    with pytest.raises(SpecError, match="no note for gong"):
        write(tmp_path, "midi", Heard("x", 1.0, RATE, ("gong",), (event,)))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # jams asks jsonschema in an old way
def test_jams_is_valid_and_read_back(tmp_path: Path) -> None:
    jams = pytest.importorskip("jams", reason='needs jams: pip install ".[jams]"')
    song = heard(count=50)
    (path,) = write(tmp_path, "jams", song)
    assert path.name == "no.1" + FORMATS["jams"].ending
    read = jams.load(str(path), validate=True, strict=True)
    assert read.file_metadata.duration == song.seconds
    (annotation,) = read.search(namespace="tag_open")
    times, labels = annotation.to_event_values()
    np.testing.assert_allclose(times, [event.time for event in song.by_time], atol=1e-6)
    assert labels == [event.label for event in song.by_time]
    confidences = [each.confidence for each in annotation.data]
    np.testing.assert_allclose(confidences, [event.confidence for event in song.by_time], atol=1e-4)
    np.testing.assert_allclose(annotation.sandbox.velocity, [event.velocity for event in song.by_time], atol=1e-4)


@pytest.mark.filterwarnings("ignore:All interval durations")  # a hit is a moment
def test_audacity_labels_are_read_back_by_mir_eval(tmp_path: Path) -> None:
    song = heard()
    (path,) = write(tmp_path, "audacity", song)
    intervals, labels = mir_eval.io.load_labeled_intervals(str(path), delimiter="\t")
    np.testing.assert_allclose(intervals, [[event.time, event.time] for event in song.by_time], atol=1e-6)
    assert labels == [event.label for event in song.by_time]


def test_layers_of_sonic_visualiser_are_exact_to_the_sample(tmp_path: Path) -> None:
    song = heard()
    paths = write(tmp_path, "sv", song)
    assert [path.name for path in paths] == [f"no.1.{label}.svl" for label in song.labels]
    for path, label in zip(paths, song.labels, strict=True):
        root = ElementTree.parse(path).getroot()
        mine = [event for event in song.by_time if event.label == label]
        points = root.findall("data/dataset/point")
        assert [int(point.get("frame")) for point in points] == [event.sample for event in mine]
        np.testing.assert_allclose(
            [float(point.get("value")) for point in points], [event.velocity for event in mine], atol=1e-4
        )
        model, layer = root.find("data/model"), root.find("display/layer")
        assert model.get("sampleRate") == str(RATE)
        assert layer.get("model") == model.get("id")
        assert root.find("data/dataset").get("id") == model.get("dataset")


@pytest.mark.parametrize("form", ["tsv", "csv", "audacity", "midi"])
def test_what_was_heard_can_be_corrected_and_taught(tmp_path: Path, form: str) -> None:
    """`labelgen.label_files` reads what an editor saved."""
    song = heard(count=60, seconds=60)
    (path,) = write(tmp_path, form, song)
    marks = read_marks(path, {})
    expected = sorted((round(event.time, 3), event.label) for event in song.events)
    assert [mark.label for mark in marks] == [label for _, label in expected]
    np.testing.assert_allclose([mark.time for mark in marks], [time for time, _ in expected], atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # as above
@pytest.mark.parametrize("form", FORMATS)
def test_a_song_without_a_hit(tmp_path: Path, form: str) -> None:
    if form == "jams":
        pytest.importorskip("jams", reason='needs jams: pip install ".[jams]"')
    paths = write(tmp_path, form, Heard("silence", 3.0, RATE, ("kick",), ()))
    assert all(path.is_file() for path in paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_format_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="no format 'pdf'; there are tsv, csv"):
        writers(["pdf"])
    monkeypatch.setattr("dance.formats.table.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r'midi needs mido: pip install "\.\[midi\]"'):
        writers(["tsv", "midi"])


@pytest.mark.parametrize("form", sorted(FORMATS.keys() - {"jams"}))
def test_names_end_as_the_table_says(tmp_path: Path, form: str) -> None:
    song = heard(10)
    endings = [FORMATS[form].ending.format(label=label) for label in song.labels]
    assert [path.name for path in write(tmp_path, form, song)] == list(dict.fromkeys(f"no.1{end}" for end in endings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("songs")
    for number in range(3):
        soundfile.write(path / f"{number}.wav", drums(2.0, seed=number), RATE)
    (path / "broken.wav").write_text("not audio")
    return path


def test_the_command_writes_all_formats_and_a_picture(folder: Path, tmp_path: Path) -> None:
    options = ["--format", "tsv,csv,midi,audacity,sv", "--plot", "--model", tiny(), "--out", tmp_path]
    done = run("-m", "dance", "transcribe", folder / "0.wav", *options)
    assert (done.returncode, done.stderr) == (0, "")
    names = {"0.tsv", "0.csv", "0.mid", "0.txt", "0.kick.svl", "0.snare.svl", "0.hihat.svl", "0.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(str(tmp_path / name) in done.stdout for name in names)
    hits = read_hits(tmp_path / "0.tsv")
    assert len(hits) >= 6
    (kit,) = pretty_midi.PrettyMIDI(str(tmp_path / "0.mid")).instruments
    np.testing.assert_allclose(sorted(note.start for note in kit.notes), [hit.time for hit in hits], atol=1e-3)


def test_processes_write_the_same_and_a_broken_file_costs_a_line(folder: Path, tmp_path: Path) -> None:
    files = [folder / name for name in ("0.wav", "broken.wav", "1.wav", "2.wav")]
    for jobs in (1, 3):
        done = run(
            "-m", "dance", "transcribe", *files, "--out", tmp_path / str(jobs), "--model", tiny(), "--jobs", jobs
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "broken.wav: not readable as audio" in done.stderr
        assert done.stdout.count(" -> ") == 3
    tables = [{path.name: path.read_text() for path in (tmp_path / jobs).iterdir()} for jobs in "13"]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 3


def test_a_wrong_format_is_told_before_the_work(folder: Path, tmp_path: Path) -> None:
    for options, message in (
        (["--format", "tsv,pdf"], "dance: no format 'pdf'; there are tsv,"),
        (["--jobs", "0"], "must be at least 1, not 0"),
    ):
        done = run("-m", "dance", "transcribe", folder / "0.wav", "--out", tmp_path / "out", *options)
        assert done.returncode == 2
        assert message in done.stderr
        assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_all_processes_and_leaves_nothing_half(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", drums(1.0), RATE)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.tile(drums(30.0), 40), RATE, subtype="PCM_16")
    out = tmp_path / "out"
    arguments = ["transcribe", *(tmp_path / f"{name}.wav" for name in ("short", "a", "b"))]
    process = subprocess.Popen(
        [sys.executable, "-m", "dance", *arguments, "--out", out, "--model", tiny(), "--jobs", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT / "engine",
        start_new_session=True,
    )
    assert "short.wav" in process.stdout.readline()  # all have begun
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of it
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "")
    assert [path.name for path in out.iterdir()] == ["short.tsv"]
    until(lambda: not alive(process.pid))


def alive(group: int) -> list[str]:
    """Return the states of the processes of a group that have not ended (nobody may have collected them yet)."""
    fields = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            fields.append(path.read_text().rpartition(")")[2].split())
    return [state for state, _, of, *_ in fields if int(of) == group and state != "Z"]
