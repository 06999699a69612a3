"""Noises made by rule become chunks without labels that a training set can lay under music."""

import numpy as np
import pytest
import soundfile as sf

pytest.importorskip("tqdm")

from labelgen.chunks import Manifest, read_labels
from labelgen.noises import KINDS, main

RATE = 22050


def test_each_kind_gives_chunks_without_labels(tmp_path, capsys):
    assert (
        main(["--count", "2", "--seconds", "3", "--sample-rate", str(RATE), "--out", str(tmp_path), "--jobs", "1"]) == 0
    )
    chunks = Manifest(tmp_path).chunks()
    assert len(chunks) == 2 * len(KINDS)
    for chunk in chunks:
        assert chunk.stems == ("backing",)
        assert not read_labels(tmp_path / f"{chunk.name}.tsv")
        samples, rate = sf.read(tmp_path / f"{chunk.name}.flac")
        assert (rate, len(samples)) == (RATE, 3 * RATE)
        assert np.abs(samples).max() == pytest.approx(1, abs=0.01)


def test_a_kind_named_twice_is_made_once(tmp_path):
    form = ["--seconds", "1", "--sample-rate", "8000", "--jobs", "1"]
    assert main(["--kinds", "hiss", "hiss", "--count", "1", *form, "--out", str(tmp_path)]) == 0
    assert [chunk.unit for chunk in Manifest(tmp_path).chunks()] == ["hiss-0"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_noises_differ_and_can_be_made_again(kind):
    first, again, other = (KINDS[kind](2 * RATE, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all() and len(first) == 2 * RATE
    assert np.abs(np.corrcoef(first, other)[0, 1]) < 0.5


def test_crackle_is_made_of_clicks_and_hiss_is_not():
    def crest(kind):
        audio = KINDS[kind](20 * RATE, RATE, np.random.default_rng(3))
        return np.abs(audio).max() / audio.std()

    assert crest("crackle") > 3 * crest("hiss")
    assert crest("typing") > 3 * crest("applause")
