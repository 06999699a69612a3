"""Models side by side: each row is that model's own."""

import pytest
import studio

pytest.importorskip("onnx")
pytest.importorskip("matplotlib")

from benchmarks import compare
from labelgen.chunks import read_labels


def test_models_stand_side_by_side(tiny_path, tmp_path, capsys):
    songs = studio.chunk_set(tmp_path / "songs", count=2, seconds=4.0)
    named = [f"one={tiny_path}", str(tiny_path)]
    picture = tmp_path / "models.png"
    assert compare.main([*named, "--audio", str(songs), "--out", str(picture)]) == 0
    one, other = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert [one[0], other[0]] == ["one", tiny_path.stem]
    assert one[1:8] == other[1:8] and one[9] == other[9]  # all but the time
    assert picture.read_bytes().startswith(b"\x89PNG")

    first = next(songs.glob("*.tsv"))
    pair = [(first.with_suffix(".flac"), first)]
    measured = compare.measure("one", tiny_path, pair)
    kicks = sum(label.label == "kick" for label in read_labels(first))
    # the tiny model hears all kicks, and takes some of the rest for kicks
    assert measured.labels[0] == pytest.approx(2 * kicks / (2 * kicks + 7))


def test_what_is_missing_is_named(tiny_path, tmp_path, capsys):
    assert compare.main([str(tiny_path), "--audio", str(tmp_path)]) == 2
    assert "no recording in" in capsys.readouterr().err
    songs = studio.chunk_set(tmp_path / "songs", count=1, seconds=1.0)
    assert compare.main([str(tmp_path / "no.onnx"), "--audio", str(songs)]) == 2
    assert "no.onnx" in capsys.readouterr().err
