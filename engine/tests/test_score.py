"""Scores agree with mir_eval, tables come back as they were written, and files appear whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import mir_eval
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dance import Event, SourceError
from dance.files import replacing
from dance.score import compare, match, report
from dance.tables import Hit, read_hits, write_events

RATE = 1 << 14
TIMES = st.lists(st.integers(0, 1 << 14), max_size=60).map(sorted)


def event(time: float, label: str = "kick", delay: float = 0.01) -> Event:
    return Event(label, 0.5, 0.9, round(time * RATE), round((time + delay) * RATE), RATE)


@given(TIMES, TIMES, st.integers(0, 2000))
def test_as_many_pairs_as_mir_eval(reference: list[int], estimated: list[int], tolerance: int) -> None:
    # Multiples of a power of two, so that no rounding decides what lies on the very edge.
    true, found, window = (np.array(x) / RATE for x in (reference, estimated, tolerance))
    pairs = match(list(true), list(found), float(window))
    assert len(pairs) == len(mir_eval.util.match_events(true, found, window))
    assert all(abs(true[i] - found[j]) <= window for i, j in pairs)
    for side in zip(*pairs, strict=True):
        assert len(set(side)) == len(side)


def test_scores_by_label_and_in_all() -> None:
    hits = [Hit(1.0, "kick", 1.0), Hit(2.0, "kick", 0.3), Hit(1.0, "snare", 0.5), Hit(3.0, "cymbal", 0.5)]
    events = [event(1.01), event(1.03), event(1.5), event(1.02, "snare", delay=0.02)]
    scores = compare(hits, events, ("kick", "snare", "hihat"))
    assert list(scores) == ["kick", "snare", "hihat", "all"]
    kick, snare, hihat, every = scores.values()
    assert (kick.hits, kick.events, kick.found) == (2, 3, 1)
    assert (kick.precision, kick.recall, kick.f_measure) == (1 / 3, 1 / 2, 2 / 5)
    assert kick.delays == pytest.approx((0.02,), abs=1e-3)
    assert snare.delays == pytest.approx((0.04,), abs=1e-3)
    assert (hihat.precision, hihat.recall, hihat.f_measure) == (1, 1, 1)
    assert (every.hits, every.events, every.found) == (3, 4, 2)
    assert every.f_measure == 4 / 7
    lines = report(scores).splitlines()
    assert [line.split()[0] for line in lines] == ["hits", "kick", "snare", "hihat", "all"]
    assert lines[1].split() == ["kick", "2", "3", "0.333", "0.500", "0.400", "20", "ms"]
    assert lines[3].split()[-1] == "-"


def test_events_come_back_from_their_table(tmp_path: Path) -> None:
    events = [event(0.5), event(0.25, "snare")]
    write_events(tmp_path / "deep" / "a.tsv", events)
    text = (tmp_path / "deep" / "a.tsv").read_text()
    assert text.splitlines() == [
        "time\tlabel\tvelocity\tconfidence\treported",
        "0.50000\tkick\t0.500\t0.900\t0.51001",
        "0.25000\tsnare\t0.500\t0.900\t0.26001",
    ]
    assert read_hits(tmp_path / "deep" / "a.tsv") == [Hit(0.25, "snare", 0.5), Hit(0.5, "kick", 0.5)]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("old")

    def interrupted() -> Iterator[Event]:
        yield event(1.0)
        assert (tmp_path / "a.tsv").read_text() == "old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_events(tmp_path / "a.tsv", interrupted())
    with pytest.raises(OSError) as failure, replacing(tmp_path / "c.mid"):
        raise OSError(28, "No space left on device")
    assert failure.value.filename == str(tmp_path / "c.mid")
    with replacing(tmp_path / "b.png") as temporary:
        temporary.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.tsv": "old", "b.png": "new"}


def test_a_table_from_a_spreadsheet_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("time\tlabel\tvelocity\n1\tkick\t1\n", encoding="utf-8-sig")
    assert read_hits(tmp_path / "x.tsv") == [Hit(1.0, "kick", 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "time\tlabel\n1\tkick\n",
        "time\tlabel\tvelocity\nsoon\tkick\t1\n",
        "time\tlabel\tvelocity\n1\n",
        "time\tlabel\tvelocity\nnan\tkick\t1\n",
        "x" * (1 << 18),  # longer than the module csv takes
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_table_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.tsv").write_text(text)
    if not text:
        assert read_hits(tmp_path / "x.tsv") == []
        return
    with pytest.raises(SourceError, match=r"x\.tsv: not a table with the tab-separated columns"):
        read_hits(tmp_path / "x.tsv")
    with pytest.raises(SourceError, match="No such file"):
        read_hits(tmp_path / "y.tsv")
