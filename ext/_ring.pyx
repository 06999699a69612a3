"""Ring buffer of float32 samples between one writer and one reader, without locks.

The audio callback writes, the engine reads; neither ever waits for the other. When the ring is full
the NEW samples are dropped and counted, and the reader is told where they are missing: a read stops
at the gap, and the read that begins behind it returns the exact number of samples lost there.

Units and shapes: mono samples, positions and losses in samples of the written stream.

How it stays exact. `head` and `tail` count all samples ever stored and read. A loss is private to the
writer until there is room again; then it is published as one gap (position, length) before the
samples behind it are, so a reader that sees those also sees the gap. There is one slot for a gap:
while the reader has not passed it, a second loss goes on growing on the writer's side.

Contents
--------
Ring
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from *:
    """
    #define LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
    #define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
    """
    uint64_t LOAD(uint64_t field) noexcept nogil
    void STORE(uint64_t field, uint64_t value) noexcept nogil

cdef enum:
    # Copies shorter than this keep the GIL: getting it back can take milliseconds when another thread
    # computes, and the audio callback must not wait for that.
    LONG = 1024


cdef class Ring:
    """Ring buffer for one writing and one reading thread.

    Parameters
    ----------
    capacity : int
        Samples that it holds at least; rounded up to a power of two.
    """

    cdef float* _data
    cdef uint64_t _size, _head, _tail
    cdef uint64_t _unpublished, _lost  # the writer's: dropped since the last gap; dropped in all
    cdef uint64_t _gap_open, _gap_at, _gap_length

    def __cinit__(self, Py_ssize_t capacity):
        if not 0 < capacity <= 1 << 30:
            raise ValueError("capacity must lie between 1 and 2**30 samples")
        self._size = 1
        while self._size < <uint64_t>capacity:
            self._size *= 2
        self._data = <float*>calloc(self._size, sizeof(float))
        if self._data == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self._data)

    @property
    def capacity(self):
        """Samples that it can hold."""
        return self._size

    @property
    def lost(self):
        """Samples dropped so far, whether the reader was told already or not."""
        return LOAD(self._lost)

    @property
    def waiting(self):
        """Samples stored and not read yet; the reader's thread only."""
        return LOAD(self._head) - self._tail

    def write(self, samples):
        """Append mono samples; the writer's thread only.

        Parameters
        ----------
        samples : float32 array, C-contiguous, shape (n,)

        Returns
        -------
        int
            How many were stored, the first ones; the rest is lost and counted.

        Raises
        ------
        TypeError
            If `samples` is anything else.
        """
        cdef const float[::1] view = _floats(samples)
        if view.shape[0] == 0:
            return 0
        return self._write(&view[0], view.shape[0], 1)

    def write_interleaved(self, data, int channels):
        """Append what an audio callback got, averaged to mono; the writer's thread only.

        Parameters
        ----------
        data : bytes-like
            Interleaved float32 samples in native byte order.
        channels : int

        Returns
        -------
        int
            How many mono samples were stored, the first ones; the rest is lost and counted.

        Raises
        ------
        ValueError
            If `data` does not hold whole frames of `channels` aligned samples.
        """
        cdef const unsigned char[::1] view = data
        cdef uint64_t frame = 4 * <uint64_t>channels
        if view is None:
            raise TypeError("need data, not None")
        if channels < 1 or view.shape[0] % frame:
            raise ValueError("data must hold whole float32 frames of the given channels")
        if view.shape[0] == 0:
            return 0
        if <size_t>&view[0] % 4:
            raise ValueError("data must be aligned for float32")
        return self._write(<const float*>&view[0], view.shape[0] // frame, channels)

    def read(self, out):
        """Take what is there, up to the next gap; the reader's thread only, never waits.

        Parameters
        ----------
        out : float32 array, C-contiguous, shape (n,)
            Its first samples are overwritten.

        Returns
        -------
        count : int
            Samples put into `out`, up to n.
        lost_before : int
            Samples lost between those of the previous read and these; 0 when `count` is 0.

        Raises
        ------
        TypeError
            If `out` is anything else or read-only.
        """
        cdef float[::1] view = _writable(out)
        cdef uint64_t lost = 0
        cdef Py_ssize_t count
        if view.shape[0] == 0:
            return 0, 0
        if view.shape[0] < LONG:
            count = self._take(&view[0], view.shape[0], &lost)
        else:
            with nogil:
                count = self._take(&view[0], view.shape[0], &lost)
        return count, lost

    cdef Py_ssize_t _write(self, const float* samples, Py_ssize_t count, int channels):
        cdef Py_ssize_t stored
        if count < LONG:
            return self._put(samples, count, channels)
        with nogil:
            stored = self._put(samples, count, channels)
        return stored

    cdef Py_ssize_t _put(self, const float* samples, Py_ssize_t count, int channels) noexcept nogil:
        cdef uint64_t head = self._head
        cdef uint64_t room = self._size - (head - LOAD(self._tail))
        cdef Py_ssize_t first, stored
        if self._unpublished:
            if room == 0 or LOAD(self._gap_open):
                room = 0
            else:
                self._gap_at = head
                self._gap_length = self._unpublished
                self._unpublished = 0
                STORE(self._gap_open, 1)
        stored = min(count, <Py_ssize_t>room)
        if stored:
            first = min(stored, <Py_ssize_t>(self._size - (head & (self._size - 1))))
            _mix(samples, self._data + (head & (self._size - 1)), first, channels)
            _mix(samples + first * channels, self._data, stored - first, channels)
            STORE(self._head, head + stored)
        if stored < count:
            self._unpublished += count - stored
            STORE(self._lost, self._lost + (count - stored))
        return stored

    cdef Py_ssize_t _take(self, float* out, Py_ssize_t room, uint64_t* lost) noexcept nogil:
        cdef uint64_t tail = self._tail
        cdef uint64_t end = LOAD(self._head)
        cdef Py_ssize_t count, first
        if LOAD(self._gap_open):
            if self._gap_at > tail:
                end = min(end, self._gap_at)
            elif end > tail:
                lost[0] = self._gap_length
                STORE(self._gap_open, 0)
        count = min(room, <Py_ssize_t>(end - tail))
        if count:
            first = min(count, <Py_ssize_t>(self._size - (tail & (self._size - 1))))
            memcpy(out, self._data + (tail & (self._size - 1)), first * sizeof(float))
            memcpy(out + first, self._data, (count - first) * sizeof(float))
            STORE(self._tail, tail + count)
        return count


cdef void _mix(const float* samples, float* out, Py_ssize_t count, int channels) noexcept nogil:
    """Average `count` interleaved frames into `out`."""
    cdef Py_ssize_t i
    cdef int channel
    cdef float total
    if channels == 1:
        memcpy(out, samples, count * sizeof(float))
        return
    for i in range(count):
        total = samples[i * channels]
        for channel in range(1, channels):
            total = total + samples[i * channels + channel]
        out[i] = total / channels


cdef const float[::1] _floats(samples):
    try:
        if samples is not None:
            return samples
    except (ValueError, BufferError):
        pass
    raise TypeError("samples must be a contiguous float32 array of one dimension")


cdef float[::1] _writable(out):
    try:
        if out is not None:
            return out
    except (ValueError, BufferError):
        pass
    raise TypeError("out must be a writable, contiguous float32 array of one dimension")
