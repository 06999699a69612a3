"""Drums of one set over the backing of another: labels kept, both audible."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import studio

from labelgen import remix
from labelgen.chunks import Chunk, Manifest, read_labels


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


def test_the_balance_is_what_was_asked_for_in_the_mean(tmp_path):
    drums = studio.chunk_set(tmp_path / "drums", count=8, seconds=6.0)
    means = []
    for wanted in ("-6", "6"):
        out = tmp_path / wanted
        assert remix.main([str(drums), str(drums), "--out", str(out), "--balance", wanted, "--jobs", "1"]) == 0
        means.append(np.mean([chunk.details["balance_db"] for chunk in Manifest(out).chunks()]))
    assert np.diff(means) == pytest.approx(12, abs=0.01)


@pytest.mark.parametrize("balance", ["nan", "inf", "70", "much"])
def test_a_balance_that_is_none_is_refused(balance, capsys):
    with pytest.raises(SystemExit) as ended:
        remix.main(["drums", "backing", "--balance", balance])
    assert ended.value.code == 2 and "--balance" in capsys.readouterr().err


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


def test_neighbouring_seeds_give_other_draws_and_licences_are_told_once(tmp_path):
    drums = studio.chunk_set(tmp_path / "drums", count=2, seconds=6.0)
    folders, out = (drums, drums), tmp_path / "out"
    first, second = (replace(chunk, licence="PD; CC0") for chunk in Manifest(drums).chunks())

    def made(chunk: Chunk, seed: int) -> Chunk:
        (result,) = remix.remix(remix.Pair(chunk, replace(first, licence="CC0"), folders, out, seed))
        return result

    assert made(first, 1).details["balance_db"] == made(first, 1).details["balance_db"]
    balances = [made(first, 1).details["balance_db"], made(second, 0).details["balance_db"]]
    balances += [made(second, 1).details["balance_db"], made(first, 0).details["balance_db"]]
    assert np.diff(sorted(balances)).min() > 0
    assert made(first, 0).licence == "CC0; PD"


def test_every_unit_has_the_seed_that_was_given(tmp_path):
    drums = studio.chunk_set(tmp_path / "drums", count=2, seconds=6.0)
    assert remix.main([str(drums), str(studio.chunk_set(tmp_path / "hums", count=1)), "--seed", "5", "--jobs", "1",
                       "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    assert [chunk.seed for chunk in Manifest(tmp_path / "out").chunks()] == [5, 5]
