"""The detector's opinion on attacks whose times are known, and what becomes of two opinions."""

import numpy as np
import pytest
import studio

pytest.importorskip("torch")
pytest.importorskip("librosa")

from dance.labels import LABELS
from labelgen.chunks import read_labels
from labelgen.second_opinion import SecondOpinion, pooled
from labelgen.shreds import RELEASED, ShredClassifier, find_shreds
from training.shred_data import read_audio


@pytest.fixture(scope="module")
def detector() -> SecondOpinion:
    return SecondOpinion()


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = studio.chunk_set(tmp_path_factory.mktemp("material") / "set", 1)
    return read_audio(folder / "grid-0.drums.flac"), read_labels(folder / "grid-0.tsv")


def test_it_hears_what_is_hit_where_it_is_hit(detector, grid) -> None:
    drums, labels = grid
    kicks = np.array([x.time for x in labels if x.label == "kick"])
    hats = np.array([x.time for x in labels if x.label == "hihat"])
    alone = hats[np.abs(hats[:, None] - kicks).min(axis=1) > 0.1]
    kick = detector.on(drums, kicks, ["hihat", "kick"])[:, 1]
    assert kick.shape == kicks.shape and np.median(kick) > 0.5
    assert np.median(detector.on(drums, alone, ["kick"])) < 0.1
    # in the nearest frames: 60 ms on, it is another sound or none
    assert np.median(detector.on(drums, kicks + 0.06, ["kick"])) < np.median(kick) / 2


def test_levels_make_no_difference(detector, grid) -> None:
    drums, labels = grid
    times = np.array(sorted({x.time for x in labels}))
    loud, faint = (detector.on(level * drums, times, LABELS) for level in np.float32([1.0, 1e-4]))
    np.testing.assert_allclose(faint, loud, atol=1e-3)


def test_a_track_too_short_or_without_attacks(detector) -> None:
    silence = np.zeros(10, np.float32)
    assert detector.on(silence, np.array([0.0]), LABELS).tolist() == [[0.0] * len(LABELS)]
    assert detector.on(np.zeros(44100, np.float32), np.zeros(0), LABELS).shape == (0, len(LABELS))
    assert detector.on(np.zeros(44100, np.float32), np.array([0.99, 5.0]), LABELS).shape == (2, len(LABELS))


def test_pooled_opinions() -> None:
    first, second = (np.array([values], np.float32) for values in ([0.9, 0.5, 1.0, 0.2], [0.1, 0.8, 0.0, 0.2]))
    np.testing.assert_allclose(pooled(first, second, 0.0), [[0.9, 0.5, 0.999, 0.2]], atol=1e-6)
    np.testing.assert_allclose(pooled(first, second, 1.0), [[0.1, 0.8, 0.001, 0.2]], atol=1e-6)
    np.testing.assert_allclose(pooled(first, second, 0.5), [[0.5, 2 / 3, 0.5, 0.2]], atol=1e-6)


@pytest.mark.skipif(not RELEASED.exists(), reason="no released classifier yet")
def test_the_released_classifier_asks_it(grid) -> None:
    drums, _ = grid
    classifier = ShredClassifier(RELEASED)
    shreds = find_shreds(drums, classifier.spec)
    alone, together = classifier.alone(shreds), classifier.probabilities(shreds, drums)
    heard = SecondOpinion().on(drums, shreds.times, classifier.spec.labels)
    between = (np.minimum(alone, heard) - 1e-3 <= together) & (together <= np.maximum(alone, heard) + 1e-3)
    assert between.all() and np.abs(together - alone).max() > 0.01
