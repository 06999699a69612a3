"""Chunks: what is written is read back, and half-written things do not exist."""

import errno
import os
import platform
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from labelgen.chunks import Chunk, ChunkWriter, Label, Manifest, digest, layered, of_source, read_labels, write_labels
from labelgen.pools import attempt


def chunk(name: str) -> Chunk:
    return Chunk(name, f"song#{name}", "src", "song", "CC0", "midi", 1.0, 2.5, ("drums",), 3, "train", {"k": [1]})


def units(manifest: Manifest) -> set[str]:
    return {row["unit"] for row in manifest.rows()}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (Label(0.0, "snare", 0.3), Label(0.02, "snare", 0.9), 0.9),
        (Label(0.0, "snare", 0.9), Label(0.02, "snare", 0.3), 0.9),
        (Label(0.0, "snare", 0.9, -3.0), Label(0.02, "snare", 0.3, 6.0), 0.3),
        (Label(0.0, "snare", 0.3, 6.0), Label(0.02, "snare", 0.9, -3.0), 0.3),
    ],
)
def test_of_a_flam_the_main_stroke_is_kept(first, second, kept):
    (hit,) = layered([first, second])
    assert (hit.time, hit.velocity) == (0.0, kept)


def test_labels_round_trip_sorted(tmp_path):
    labels = [Label(1.25, "snare", 0.5), Label(0.125, "kick", 1.0), Label(0.125, "hihat", 0.25)]
    write_labels(tmp_path / "a.tsv", labels)
    assert (tmp_path / "a.tsv").read_text().splitlines()[0] == "time\tlabel\tvelocity"
    assert read_labels(tmp_path / "a.tsv") == sorted(labels)


def test_labels_of_another_table_are_refused(tmp_path):
    (tmp_path / "a.tsv").write_text("start\tend\n0\t1\n")
    with pytest.raises(ValueError, match="not a label table"):
        read_labels(tmp_path / "a.tsv")


def test_an_empty_table_of_labels_is_named(tmp_path):
    (tmp_path / "a.tsv").write_text("")
    with pytest.raises(ValueError, match=r"a\.tsv: not a label table"):
        read_labels(tmp_path / "a.tsv")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_not_the_songs_fault(tmp_path):
    (tmp_path / f"a.flac~{platform.node()}~{os.getpid()}.part").symlink_to("/dev/full")
    writer = ChunkWriter(tmp_path, 44100)
    done = attempt(lambda audio: writer.write("a", {"": audio}, []), np.zeros(1000, np.float32))
    assert os.strerror(errno.ENOSPC) in done.stop and not done.refused
    assert list(tmp_path.iterdir()) == []


def test_writer_leaves_whole_files_only(tmp_path):
    audio = np.linspace(-0.5, 0.5, 1000, dtype=np.float32)
    ChunkWriter(tmp_path / "set", 44100).write("a", {"": audio, "drums": audio / 2}, [Label(0.0, "kick", 1.0)])
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["a.drums.flac", "a.flac", "a.tsv"]
    back, rate = sf.read(tmp_path / "set" / "a.flac", dtype="float32")
    assert rate == 44100
    np.testing.assert_allclose(back, audio, atol=1 / 32000)


def test_manifest_round_trip(tmp_path):
    manifest = Manifest(tmp_path)
    assert manifest.chunks() == [] and units(manifest) == set()
    manifest.add([chunk("a"), chunk("b")])
    manifest.refuse("bad#0", "no drums")
    again = Manifest(tmp_path)
    assert again.chunks() == [chunk("a"), chunk("b")]
    assert units(again) == {"song#a", "song#b", "bad#0"}
    assert again.refused() == {"bad#0": "no drums"}


def test_half_a_line_is_forgotten_and_overwritten(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.add([chunk("a"), chunk("b")])
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-20])  # killed while writing
    assert [c.name for c in Manifest(tmp_path).chunks()] == ["a"]
    Manifest(tmp_path).add([chunk("c")])
    assert [c.name for c in Manifest(tmp_path).chunks()] == ["a", "c"]


def parts(unit: str, count: int) -> list[Chunk]:
    return [Chunk(f"{unit}-{k}", unit, "src", "song", "CC0", "midi", 1.0, 2.5) for k in range(count)]


@pytest.mark.parametrize("lost", [1, 20, 400])
def test_a_unit_is_there_as_a_whole_or_not_at_all(tmp_path, lost):
    """The process may die between the lines of one unit."""
    manifest = Manifest(tmp_path)
    manifest.add(parts("a", 2))
    manifest.add(parts("b", 3))
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-lost])
    again = Manifest(tmp_path)
    assert units(again) == {"a"} and [c.name for c in again.chunks()] == ["a-0", "a-1"]
    again.add(parts("c", 1))
    again.refuse("d", "silent")
    assert units(Manifest(tmp_path)) == {"a", "c", "d"}
    assert path.read_text().count("\n") == 4


def test_a_line_of_an_older_version_is_a_chunk(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.add(parts("a", 2))
    path = tmp_path / "manifest.jsonl"
    path.write_text(path.read_text().replace('"parts": 2, ', ""))
    assert len(Manifest(tmp_path).chunks()) == 2


@pytest.mark.parametrize("line", [bytes(20), b"[1]", b'{"unit": "a"}', b"7"])
def test_a_damaged_line_is_named(tmp_path, line):
    manifest = Manifest(tmp_path)
    manifest.add(parts("a", 1))
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ValueError, match=r"manifest\.jsonl: line 2 is damaged"):
        Manifest(tmp_path).chunks()


def test_what_need_not_be_done_again(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.add(parts("a", 2))
    manifest.refuse("b\udcff", "no drums")
    manifest.refuse("c", "no drums")
    manifest.add(parts("c", 1))
    every, made = manifest.digests(), manifest.digests(refused=False)
    chunks = [x for unit in ("a", "c") for x in (unit, of_source(unit, "src"))]
    refused = [x for unit in ("b\udcff", "c") for x in (unit, of_source(unit, ""))]
    assert every.tolist() == sorted(map(digest, {*chunks, *refused}))
    assert made.tolist() == sorted(map(digest, chunks))
    assert manifest.refused() == {"b\udcff": "no drums"}
