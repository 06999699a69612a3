"""Drums of one set over the backing of another: labels kept, both audible."""

import numpy as np
import soundfile as sf
import studio

from labelgen import remix
from labelgen.chunks import Manifest, read_labels


def test_drums_keep_their_labels_over_another_backing(tmp_path):
    drums = studio.chunk_set(tmp_path / "drums", count=2, seconds=6.0, seed=1)
    hums = studio.chunk_set(tmp_path / "hums", count=1, seconds=3.0, seed=2)
    out = tmp_path / "out"
    assert remix.main([str(drums), str(hums), "--out", str(out), "--jobs", "1"]) == 0
    chunks = Manifest(out).chunks()
    assert sorted(c.name for c in chunks) == ["grid-0", "grid-1"]
    for chunk in chunks:
        assert read_labels(out / f"{chunk.name}.tsv") == read_labels(drums / f"{chunk.name}.tsv")
        audio, rate = sf.read(out / f"{chunk.name}.flac")
        assert len(audio) == 6 * rate
        # the hum of 220 Hz lasts to the end, where no drum is left
        spectrum = np.abs(np.fft.rfft(audio[-rate // 4 :] * np.hanning(rate // 4)))
        assert abs(np.argmax(spectrum) * 4 - 220) <= 4


def test_a_set_without_such_chunks_is_named(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    assert remix.main([str(tmp_path / "none"), str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert f"{tmp_path / 'none'}: no chunks with a stem of drums" in capsys.readouterr().err


def test_no_set_is_written_over(tmp_path, capsys):
    folder = studio.chunk_set(tmp_path / "set", count=1, seconds=6.0)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert remix.main([str(folder), str(folder), "--out", str(folder)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
