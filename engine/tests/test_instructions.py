"""The compiled kernels get no dearer than the committed baseline: instructions, not time, so load does not matter."""

from pathlib import Path

import pytest
from stage import ROOT

pytest.importorskip("Cython", reason="the kernels are compiled once more, with pinned flags")
from benchmarks import instructions


@pytest.fixture(scope="module")
def before() -> dict[str, float]:
    try:
        return instructions.baseline()
    except instructions.CannotMeasureError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def counts(before: dict[str, float]) -> dict[str, float]:
    return instructions.count()


def test_the_kernels_are_no_dearer_than_the_baseline(counts: dict[str, float], before: dict[str, float]) -> None:
    worse = instructions.dearer(counts, before)
    assert not worse, f"{counts} against {before}; if that is worth it: python benchmarks/instructions.py --renew"


def test_the_baseline_is_renewed_when_a_kernel_becomes_cheaper(
    counts: dict[str, float], before: dict[str, float]
) -> None:
    """A stale baseline would let the gain be lost again unnoticed."""
    assert not instructions.dearer(before, counts), "cheaper: python benchmarks/instructions.py --renew"


def test_growth_beyond_the_tolerance_is_seen() -> None:
    before = {"LogMel._transform": 900.0, "LogMel._append": 100.0, "PeakPicker._step": 50.0}
    assert instructions.dearer(before, before) == []
    assert instructions.dearer({**before, "LogMel._append": 125.0}, before) == []
    assert instructions.dearer({**before, "LogMel._transform": 935.0}, before) == ["LogMel"]
    assert instructions.dearer({**before, "Gate._step": 1.0}, before) == ["Gate"]


def test_the_baseline_keeps_other_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    for name, number in (("here gcc 1", 1.0), ("there gcc 2", 2.0), ("here gcc 1", 3.0)):
        monkeypatch.setattr(instructions, "compiler", lambda name=name: name)
        instructions.renew({"LogMel._transform": number}, path)
        assert instructions.baseline(path) == {"LogMel._transform": number}
    monkeypatch.setattr(instructions, "compiler", lambda: "there gcc 2")
    assert instructions.baseline(path) == {"LogMel._transform": 2.0}
    monkeypatch.setattr(instructions, "compiler", lambda: "nowhere gcc 3")
    with pytest.raises(instructions.CannotMeasureError, match="--renew"):
        instructions.baseline(path)


@pytest.mark.slow
def test_a_kernel_that_does_more_is_caught(before: dict[str, float], tmp_path: Path) -> None:
    text = (ROOT / "ext" / "_dsp.pyx").read_text()
    once = "            self._append(samples, part)\n"
    assert text.count(once) == 1
    # the samples are written once more, to the same place
    more = once + "            self.filled -= part\n            self.position -= part\n" + once
    dearer = tmp_path / "_dsp.pyx"
    dearer.write_text(text.replace(once, more))
    counts = instructions.count([dearer if source.name == dearer.name else source for source in instructions.SOURCES])
    assert instructions.dearer(counts, before) == ["LogMel"]
