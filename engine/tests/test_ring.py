"""The ring keeps every sample it took, in order, and tells each loss where it happened."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dance._ring import Ring


def ramp(start: int, count: int) -> np.ndarray:
    """Return samples that name their own position (exact in float32 below 2**24)."""
    return np.arange(start, start + count, dtype=np.float32)


@pytest.mark.parametrize("channels", [1 << 30, (1 << 30) + 1, 0, -1])
def test_frames_of_impossible_channels_are_refused(channels):
    with pytest.raises(ValueError, match="whole float32 frames"):
        Ring(16).write_interleaved(bytes(16), channels)


@pytest.mark.parametrize("wrong", [memoryview(np.zeros(8, np.float32))[::2], None])
def test_views_that_are_no_samples_are_refused(wrong):
    with pytest.raises(TypeError):
        Ring(16).write(wrong)
    with pytest.raises(TypeError):
        Ring(16).read(wrong)
    with pytest.raises(TypeError):
        Ring(16).write_interleaved(None, 2)


def test_capacity_is_the_next_power_of_two() -> None:
    assert [Ring(n).capacity for n in (1, 2, 3, 1000, 1024, 1025)] == [1, 2, 4, 1024, 1024, 2048]
    for wrong in (0, -1, 2**31):
        with pytest.raises(ValueError, match="capacity"):
            Ring(wrong)


def test_empty_reads_and_writes() -> None:
    ring = Ring(4)
    assert ring.write(ramp(0, 0)) == 0
    assert ring.write_interleaved(b"", 2) == 0
    assert ring.read(np.empty(3, np.float32)) == (0, 0)
    ring.write(ramp(0, 2))
    assert ring.read(np.empty(0, np.float32)) == (0, 0)
    assert ring.read(np.empty(3, np.float32)) == (2, 0)


def test_what_waits_is_what_was_stored_and_not_read() -> None:
    ring, out = Ring(8), np.zeros(3, np.float32)
    assert ring.waiting == 0
    ring.write(ramp(0, 5))
    assert ring.waiting == 5
    ring.read(out)
    assert ring.waiting == 2
    ring.write(ramp(5, 9))
    assert ring.waiting == ring.capacity


def test_a_read_stops_at_the_gap_and_the_next_one_tells_it() -> None:
    ring, out = Ring(8), np.zeros(16, np.float32)
    assert ring.write(ramp(0, 11)) == 8  # 8, 9, 10 are lost
    assert ring.lost == 3
    assert ring.read(out[:5]) == (5, 0)
    assert ring.write(ramp(11, 2)) == 2  # room again, behind the gap
    assert ring.read(out) == (3, 0)
    np.testing.assert_array_equal(out[:3], [5, 6, 7])
    assert ring.read(out) == (2, 3)
    np.testing.assert_array_equal(out[:2], [11, 12])
    assert ring.read(out) == (0, 0)


def test_a_second_loss_waits_until_the_first_is_told() -> None:
    ring, out = Ring(4), np.zeros(4, np.float32)
    ring.write(ramp(0, 5))  # loses 4
    ring.read(out[:2])
    ring.write(ramp(5, 3))  # stores 5, 6 behind the first gap, loses 7
    assert ring.read(out[:1]) == (1, 0)
    assert ring.write(ramp(8, 1)) == 0  # room, but the slot for a gap is taken
    assert ring.lost == 3
    assert ring.read(out) == (1, 0)
    assert ring.read(out) == (2, 1)
    assert ring.write(ramp(9, 1)) == 1
    assert ring.read(out) == (1, 2)
    assert out[0] == 9


def test_interleaved_channels_are_averaged() -> None:
    frames = np.random.default_rng(0).uniform(-1, 1, (100, 3)).astype(np.float32)
    for channels in (1, 2, 3):
        ring, out = Ring(64), np.zeros(64, np.float32)
        for start, stop in ((0, 40), (40, 64)):  # the next write wraps around
            ring.write_interleaved(frames[start:stop, :channels].tobytes(), channels)
        assert ring.read(out[:50]) == (50, 0)
        assert ring.write_interleaved(bytearray(frames[64:, :channels].tobytes()), channels) == 36
        assert ring.read(out) == (50, 0)
        np.testing.assert_allclose(out[:50], frames[50:, :channels].mean(axis=1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2]])
def test_other_arrays_are_a_type_error(wrong: np.ndarray) -> None:
    with pytest.raises(TypeError, match="float32"):
        Ring(4).write(wrong)
    with pytest.raises(TypeError, match="float32"):
        Ring(4).read(wrong)


def test_none_and_read_only_are_type_errors() -> None:
    fixed = np.zeros(4, np.float32)
    fixed.flags.writeable = False
    assert Ring(4).write(fixed) == 4
    for wrong in (fixed, None):
        with pytest.raises(TypeError, match="writable"):
            Ring(4).read(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float32"):
        Ring(4).write(None)  # type: ignore[arg-type]


def test_broken_interleaved_data_is_a_value_error() -> None:
    for data, channels in ((b"1234567", 1), (b"1234", 2), (b"1234", 0), (memoryview(b"012345678")[1:9], 2)):
        with pytest.raises(ValueError, match="data must"):
            Ring(4).write_interleaved(data, channels)


@given(
    capacity=st.integers(1, 20),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60),
)
def test_positions_are_exact_for_any_order_of_calls(capacity: int, steps: list[tuple[bool, int]]) -> None:
    ring, out = Ring(capacity), np.zeros(30, np.float32)
    written = position = 0
    for is_write, count in steps:
        if is_write:
            ring.write(ramp(written, count))
            written += count
        else:
            got, lost = ring.read(out[:count])
            position += lost
            np.testing.assert_array_equal(out[:got], ramp(position, got))
            position += got
    for _ in range(2):  # to the gap, and behind it
        got, lost = ring.read(out)
        np.testing.assert_array_equal(out[:got], ramp(position + lost, got))
        position += lost + got
    assert position + ring.lost >= written
    ring.write(ramp(written, 1))  # there is room and the slot is free: this tells what is still untold
    got, lost = ring.read(out)
    assert (got, position + lost) == (1, written)


@pytest.mark.parametrize("longest", [700, 6000])  # below and above what is copied without the GIL
def test_two_threads_agree_on_every_sample_and_every_loss(longest: int) -> None:
    total = 1 << 22
    ring = Ring(4096)
    ring.write(ramp(0, 5000))  # so there is a loss at least once, however the threads are scheduled
    random = np.random.default_rng(longest)

    def write() -> None:
        position = 5000
        while position < total:
            count = min(int(random.integers(1, longest)), total - position)
            ring.write(ramp(position, count))
            position += count
        done.set()

    done = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    out = np.empty(4096, np.float32)
    position = told = gaps = 0
    while True:
        ended = done.is_set()
        count, lost = ring.read(out)
        position, told, gaps = position + lost, told + lost, gaps + (lost > 0)
        assert np.array_equal(out[:count], ramp(position, count))
        position += count
        if ended and not count:
            break
    writer.join()
    ring.write(ramp(total, 1))
    count, lost = ring.read(out)
    assert (count, out[0], position + lost) == (1, total, total)
    assert told + lost == ring.lost
    assert gaps > 0
