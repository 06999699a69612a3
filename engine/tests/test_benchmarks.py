"""Benchmarks end in a line where something is missing or broken, and measure what they say they do."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import studio
from stage import tiny

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("onnx")
pytest.importorskip("pyroomacoustics")

from benchmarks import common, compare, false_events, finetune, label_quality, peers, room, start
from dance import SourceError
from labelgen.chunks import Chunk, Label, Manifest, write_labels

Asked = Callable[[Path], list[object]]

FOLDERS: dict[str, Asked] = {
    "compare": lambda at: [tiny(), "--audio", at],
    "electronic": lambda at: [at],
    "false_events": lambda at: ["--audio", at, "--seconds", 0.1, "--sensitivity", 0.5],
    "finetune": lambda at: ["--audio", at, "--labels", at],
    "label_quality": lambda at: ["--folders", at, at, at],
    "label_sources": lambda at: ["--shared", at],
    "latency": lambda at: ["--audio", at, "--hits", 0],
    "peers": lambda at: ["--audio", at, "--only", "band_energy"],
    "pseudo_labels": lambda at: ["--audio", at],
    "room": lambda at: ["--audio", at],
    "velocity": lambda at: [at],
}
FILES: dict[str, Asked] = {
    "cost": lambda at: ["--song", at],
    "draw_loop": lambda at: ["--song", at, "--seconds", 1],
    "limit": lambda at: ["--song", at],
    "long_run": lambda at: ["--song", at, "--hours", 0],
    "page": lambda at: ["--song", at],
    "peer_runner": lambda at: ["band_energy", at],
    "pi_estimate": lambda at: ["--model", at],
}


@pytest.fixture(scope="module")
def told() -> Callable[[pytest.CaptureFixture[str], str, list[object]], str]:
    """Return what runs a script that has to fail and returns its line."""

    def run(capsys: pytest.CaptureFixture[str], name: str, arguments: list[object]) -> str:
        assert importlib.import_module(f"benchmarks.{name}").main([str(each) for each in arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line.startswith(f"{name}: ")] == lines[-1:]
        return lines[-1]

    return run


@pytest.mark.parametrize("kind", ["missing", "empty", "no sound"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_cannot_be_used_costs_a_line(name: str, kind: str, tmp_path: Path, capsys, told) -> None:
    folder = tmp_path / "here"
    if kind != "missing":
        folder.mkdir()
    if kind == "no sound":
        (folder / "song.flac").write_text("no sound")
        write_labels(folder / "song.tsv", [Label(0.5, "kick", 1.0)])
        Manifest(folder).add([Chunk("song", "song", "test", "techno-1-0001.mid", "CC0", "midi", 1.0, 1.0)])
    assert str(folder) in told(capsys, name, FOLDERS[name](folder))


@pytest.mark.parametrize("kind", ["missing", "a folder", "no sound"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_costs_a_line(name: str, kind: str, tmp_path: Path, capsys, told) -> None:
    path = tmp_path / "song.flac"
    if kind == "a folder":
        path.mkdir()
    elif kind == "no sound":
        path.write_text("no sound")
    assert str(path) in told(capsys, name, FILES[name](path))


def test_errors_and_interruptions_are_ends(capsys) -> None:
    def end(error: BaseException) -> tuple[int, str]:
        @common.guard
        def main(argv: object = None) -> int:
            raise error

        return main(None), capsys.readouterr().err

    assert end(SourceError("a: gone")) == (2, "test_benchmarks: a: gone\n")
    assert end(FileNotFoundError(2, os.strerror(2), "b")) == (2, f"test_benchmarks: b: {os.strerror(2)}\n")
    assert end(KeyboardInterrupt()) == (130, "")
    with pytest.raises(TypeError):
        end(TypeError("a bug"))


def test_recordings_are_read_at_any_rate(tmp_path: Path, capsys) -> None:
    sf.write(tmp_path / "A.WAV", np.full((24_000, 2), (0.5, 0.25)), 48000, format="WAV")
    assert common.recordings(tmp_path) == [tmp_path / "A.WAV"]
    samples = common.mono(tmp_path / "A.WAV", 44100)
    assert len(samples) == 22_050 and samples[5000] == pytest.approx(0.375, abs=1e-3)
    with pytest.raises(ValueError, match=r"A\.WAV: shorter than 1 s"):
        common.mono(tmp_path / "A.WAV", 44100, least=1.0)
    for name in ("cost", "limit"):
        assert importlib.import_module(f"benchmarks.{name}").main(["--song", str(tmp_path / "A.WAV")]) == 2
        assert "shorter than 1 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("draw_loop", "--seconds", "0"),
        ("false_events", "--seconds", "0"),
        ("latency", "--hits", "-5"),
        ("page", "--seconds", "0"),
        ("page", "--size", "foo"),
        ("page", "--size", "640x0"),
        ("start", "--runs", "0"),
    ],
)
def test_numbers_that_are_none_are_refused(name: str, option: str, value: str, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{name}").main([option, value])
    assert end.value.code == 2 and option in capsys.readouterr().err


# --- single scripts ---


def test_noise_alone_has_the_level_it_says(tmp_path: Path, monkeypatch, capsys) -> None:
    songs = studio.chunk_set(tmp_path / "songs", count=1, seconds=4.0)
    given = sf.read(songs / "grid-0.flac", dtype="float32")[0]
    sf.write(songs / "grid-0.wav", given, studio.RATE)  # another recording of that name
    conditions = [room.Condition(f"{snr} dB", snr) for snr in (20, 200)]
    monkeypatch.setattr(room, "CONDITIONS", conditions)
    asked = ["--audio", str(songs), "--model", str(tiny()), "--out", str(tmp_path / "out")]
    assert room.main(asked) == 0
    assert sorted(path.name for path in (tmp_path / "out" / "20-dB").iterdir()) == ["grid-0.flac", "grid-0.wav"]
    noisy, clean = (sf.read(tmp_path / "out" / f"{snr}-dB" / "grid-0.wav")[0] for snr in (20, 200))
    left = noisy - (noisy @ clean) / (clean @ clean) * clean
    # a microphone's high-pass takes some of the rumble
    assert -26 < 10 * np.log10(np.mean(left**2) / np.mean(noisy**2)) < -20


def test_room_refuses_before_it_works(tmp_path: Path, capsys) -> None:
    songs = studio.chunk_set(tmp_path / "songs", count=1, seconds=1.0)
    asked = ["--audio", str(songs), "--model", str(tiny())]
    assert room.main([*asked, "--talk", str(tmp_path / "nowhere")]) == 2
    assert f"no recordings in {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert room.main([*asked, "--out", str(songs / "grid-0.tsv")]) == 2
    assert "--out" in capsys.readouterr().err


def test_splits_that_are_not_there_are_told(tmp_path: Path, capsys) -> None:
    sf.write(tmp_path / "SONG.OGG", np.zeros(44100), 44100, format="OGG")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,split\nSONG.OGG,train\nother.ogg,test\n")
    assert false_events.drumless(tmp_path, "train") == false_events.drumless(tmp_path, "") == [tmp_path / "SONG.OGG"]
    with pytest.raises(ValueError, match="of the split trial; splits there: test, train"):
        false_events.drumless(tmp_path, "trial")
    manifest.write_text("path\nSONG.OGG\n")
    with pytest.raises(ValueError, match=r"manifest\.csv: .* lacks"):
        false_events.drumless(tmp_path, "train")


def test_models_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a=b.onnx"
    assert compare.named(f"one={path}") == ("one", path)
    assert compare.named("models/two.onnx") == ("two", Path("models/two.onnx"))
    path.touch()
    assert compare.named(str(path)) == ("a=b", path)


def test_labels_of_one_recording_are_asked_for(tmp_path: Path) -> None:
    audio, labels = tmp_path / "a.wav", tmp_path / "labels"
    audio.touch()
    labels.mkdir()
    with pytest.raises(ValueError, match=r"labels/a\.tsv"):
        peers.labelled(audio, labels)
    (labels / "a.txt").touch()
    assert peers.labelled(audio, labels) == [(audio, labels / "a.txt")]


def test_a_wrong_model_of_ours_is_no_row(tmp_path: Path, capsys) -> None:
    assert peers.main(["--only", "dance", "--model", str(tmp_path / "no.onnx")]) == 2
    assert "no.onnx" in capsys.readouterr().err


def test_what_fine_tuning_did_not_measure_is_no_figure(tmp_path: Path, monkeypatch, capsys) -> None:
    songs = studio.chunk_set(tmp_path / "songs", count=1, seconds=2.0)
    asked = ["--audio", str(songs), "--labels", str(songs), "--options", "--rehearse 'a b'"]
    given: list[list[str]] = []

    def ends(code: int) -> Callable[[list[str]], int]:
        return lambda argv: given.append(argv) or code

    monkeypatch.setattr(finetune.finetune, "main", ends(1))
    assert finetune.main(asked) == 0
    assert given[0][-2:] == ["--rehearse", "a b"]
    for line in capsys.readouterr().out.splitlines()[1:]:
        _, own, tuned, *others, minutes = line.split()
        assert own == tuned and others == ["-"] * 4 and float(minutes) < 1
    monkeypatch.setattr(finetune.finetune, "main", ends(2))
    assert finetune.main(asked) == 2
    assert not capsys.readouterr().out


def test_songs_may_have_brackets_in_their_names(tmp_path: Path, capsys) -> None:
    for folder in ("drums", "mixes", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("[1] a", "b"):
        sf.write(tmp_path / "drums" / f"{name}.flac", np.zeros(44100), 44100)
        write_labels(tmp_path / "labels" / f"{name}.tsv", [Label(0.5, "kick", 1.0)])
    sf.write(tmp_path / "mixes" / "[1] a.wav", np.zeros(44100), 44100)
    found = label_quality.from_folders(*(tmp_path / folder for folder in ("drums", "mixes", "labels")))
    assert [[x.label for x in truth] for _, _, truth in found] == [["kick"]]
    assert "left out, without a mix" in capsys.readouterr().err
    assert label_quality.decibels("none") == -np.inf


def test_a_microphone_is_named_only_where_one_is_heard(monkeypatch, capsys) -> None:
    assert start.main(["--device", "USB"]) == 2
    assert "--listen" in capsys.readouterr().err
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    assert (
        start.told("import os; os.write(int(os.environ['TELL']), os.environ['PULSE_SERVER'].encode())")
        == "unix:/nowhere"
    )
