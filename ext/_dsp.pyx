"""The compiled ends of the signal path: samples to log-mel frames, activations to hits.

Arrays are float32, samples mono with full scale 1. Nothing is allocated after construction, and no kernel
needs the GIL. `dance.features` and `dance.peaks` make these classes from a spec.

Contents
--------
LogMel
    Framing, window, FFT, mel bands and logarithm in one pass over a stream cut into any blocks.
PeakPicker
    Which frames are hits, decided without looking ahead.
"""

import numpy as np

from libc.math cimport fabsf, floor, logf
from libc.string cimport memmove


cdef extern from *:
    # The kernels' pointers never overlap; without this promise the compiler does not vectorise.
    ctypedef float* Restrict "float *__restrict"
    ctypedef const float* ConstRestrict "const float *__restrict"


cdef enum:
    LANES = 4  # floats of one SSE or NEON register

cdef long long LONGEST = <long long>1 << 53  # samples: beyond, frames' ends are not exact
cdef float LOUDEST = 8.0
cdef float QUIETEST = 1e-15
cdef float LARGEST_FINITE = 3.4028234663852886e38
cdef float DECIBEL = 4.342944819032518  # 10 / ln(10)

# Samples are scaled up before the FFT so that not even the square of a rounding error of the quietest input
# is a denormal number (those cost up to a hundred times as much); the loudest stays far from overflow.
cdef double GAIN = 2.0 ** 50
cdef float POWER_GAIN = 2.0 ** 100


# --- FFT ---


# A Stockham FFT (no bit reversal) of complex numbers in separate real and imaginary arrays. Every stage
# combines the four quarters of x into y by the twiddles w: real and imaginary parts of powers 1, 2 and 3.


cdef inline void radix4_first(
    Py_ssize_t quarter, ConstRestrict xr, ConstRestrict xi, Restrict yr, Restrict yi, ConstRestrict w
) noexcept nogil:
    """The first stage: every butterfly has its own twiddles."""
    cdef Py_ssize_t p
    cdef float sr, si, dr, di, tr, ti, ur, ui, ar, ai, br, bi, cr, ci
    for p in range(quarter):
        sr = xr[p] + xr[p + 2 * quarter]
        si = xi[p] + xi[p + 2 * quarter]
        dr = xr[p] - xr[p + 2 * quarter]
        di = xi[p] - xi[p + 2 * quarter]
        tr = xr[p + quarter] + xr[p + 3 * quarter]
        ti = xi[p + quarter] + xi[p + 3 * quarter]
        ur = xr[p + quarter] - xr[p + 3 * quarter]
        ui = xi[p + quarter] - xi[p + 3 * quarter]
        ar = dr + ui
        ai = di - ur
        br = sr - tr
        bi = si - ti
        cr = dr - ui
        ci = di + ur
        yr[4 * p] = sr + tr
        yi[4 * p] = si + ti
        yr[4 * p + 1] = ar * w[p] - ai * w[p + quarter]
        yi[4 * p + 1] = ar * w[p + quarter] + ai * w[p]
        yr[4 * p + 2] = br * w[p + 2 * quarter] - bi * w[p + 3 * quarter]
        yi[4 * p + 2] = br * w[p + 3 * quarter] + bi * w[p + 2 * quarter]
        yr[4 * p + 3] = cr * w[p + 4 * quarter] - ci * w[p + 5 * quarter]
        yi[4 * p + 3] = cr * w[p + 5 * quarter] + ci * w[p + 4 * quarter]


cdef inline void radix4(
    Py_ssize_t stride,
    Py_ssize_t quarter,
    ConstRestrict xr,
    ConstRestrict xi,
    Restrict yr,
    Restrict yi,
    ConstRestrict w,
) noexcept nogil:
    """A later stage: `stride` neighbouring butterflies share their twiddles."""
    cdef Py_ssize_t block, p, q, i, o
    cdef float w1r, w1i, w2r, w2i, w3r, w3i
    cdef float sr, si, dr, di, tr, ti, ur, ui, ar, ai, br, bi, cr, ci
    for block in range(quarter // stride):
        p = block * stride
        w1r = w[p]
        w1i = w[p + quarter]
        w2r = w[p + 2 * quarter]
        w2i = w[p + 3 * quarter]
        w3r = w[p + 4 * quarter]
        w3i = w[p + 5 * quarter]
        for q in range(stride):
            i = p + q
            o = 4 * p + q
            sr = xr[i] + xr[i + 2 * quarter]
            si = xi[i] + xi[i + 2 * quarter]
            dr = xr[i] - xr[i + 2 * quarter]
            di = xi[i] - xi[i + 2 * quarter]
            tr = xr[i + quarter] + xr[i + 3 * quarter]
            ti = xi[i + quarter] + xi[i + 3 * quarter]
            ur = xr[i + quarter] - xr[i + 3 * quarter]
            ui = xi[i + quarter] - xi[i + 3 * quarter]
            ar = dr + ui
            ai = di - ur
            br = sr - tr
            bi = si - ti
            cr = dr - ui
            ci = di + ur
            yr[o] = sr + tr
            yi[o] = si + ti
            yr[o + stride] = ar * w1r - ai * w1i
            yi[o + stride] = ar * w1i + ai * w1r
            yr[o + 2 * stride] = br * w2r - bi * w2i
            yi[o + 2 * stride] = br * w2i + bi * w2r
            yr[o + 3 * stride] = cr * w3r - ci * w3i
            yi[o + 3 * stride] = cr * w3i + ci * w3r


cdef inline void radix2_last(
    Py_ssize_t half, ConstRestrict xr, ConstRestrict xi, Restrict yr, Restrict yi
) noexcept nogil:
    """What is left where the length is twice a power of four."""
    cdef Py_ssize_t q
    for q in range(half):
        yr[q] = xr[q] + xr[q + half]
        yi[q] = xi[q] + xi[q + half]
        yr[q + half] = xr[q] - xr[q + half]
        yi[q + half] = xi[q] - xi[q + half]


cdef inline void pack(
    Py_ssize_t half, ConstRestrict samples, ConstRestrict window, Restrict re, Restrict im
) noexcept nogil:
    """Window; even samples become real parts and odd ones imaginary parts."""
    cdef Py_ssize_t i
    for i in range(half):
        re[i] = samples[2 * i] * window[2 * i]
        im[i] = samples[2 * i + 1] * window[2 * i + 1]


cdef inline void unpack(
    Py_ssize_t half, ConstRestrict re, ConstRestrict im, ConstRestrict w, Restrict low, Restrict high
) noexcept nogil:
    """Powers of the real signal's spectrum: `low` is bin 0 counting up, `high` bin `half` counting down."""
    cdef Py_ssize_t k
    cdef float er, ei, pr, pi, tr, ti
    for k in range(half // 2):
        er = re[k] + re[half - k]
        ei = im[k] - im[half - k]
        pr = im[k] + im[half - k]
        pi = re[half - k] - re[k]
        tr = pr * w[k] - pi * w[k + half // 2]
        ti = pr * w[k + half // 2] + pi * w[k]
        low[k] = (er + tr) * (er + tr) + (ei + ti) * (ei + ti)
        (high - k)[0] = (er - tr) * (er - tr) + (ei - ti) * (ei - ti)


# --- LogMel ---


cdef class LogMel:
    """A stream of samples in, log-mel frames out, on a fixed grid whatever the blocks.

    Parameters
    ----------
    hop_seconds, sample_rate : float
        Frame ``k`` ends at sample ``floor((k + 1) * hop_seconds * sample_rate + 0.5)``.
    window : float64 [window]
        Oldest sample first, scaled so that ``abs(rfft(window * x)) ** 2`` is each bin's power.
    filters : float64 [bands, fft / 2 + 1]
        Share of each bin that a band collects; gives the length of the FFT, a power of two.
    floor : float
        Power added before the logarithm.

    Attributes
    ----------
    bands : int
        Values in a frame.
    window : int
        Samples that a frame sees.
    position, frame : int
        Samples and frames passed since the stream's start, skipped ones included.
    nonfinite : int
        NaN and infinite samples so far; each was taken as 0.
    power : float32 [bands]
        Mel powers of the latest frame, a full-scale sine having 0.5 in all.
    """

    cdef readonly Py_ssize_t bands, window
    cdef readonly long long position, frame, nonfinite
    cdef double hop_seconds, sample_rate
    cdef float floor
    cdef Py_ssize_t size, half, capacity, filled
    cdef float[::1] history, taper, twiddles, turn, spectrum, weights, mel
    cdef float[:, ::1] work
    cdef int[::1] first, rows

    def __cinit__(self, double hop_seconds, double sample_rate, window, filters, double floor):
        window = np.asarray(window, np.float64)
        filters = np.asarray(filters, np.float64)
        if window.ndim != 1 or filters.ndim != 2:
            raise ValueError("the window has one dimension, filters have two")
        self.hop_seconds = hop_seconds
        self.sample_rate = sample_rate
        self.floor = floor * POWER_GAIN
        self.bands = filters.shape[0]
        self.window = window.shape[0]
        self.half = filters.shape[1] - 1
        self.size = 2 * self.half
        if self.half < 8 or self.half & (self.half - 1) or self.size < self.window:
            raise ValueError("the FFT must be a power of two, at least 16 and at least the window")
        if not 1 <= hop_seconds * sample_rate <= LONGEST:
            raise ValueError("the hop must be at least one sample, and finite")
        # Frames read `size` samples that lie in a row; a longer buffer makes moving them back rare.
        self.capacity = 4 * self.size
        self.history = np.zeros(self.capacity, np.float32)
        self.work = np.zeros((4, self.half + 1), np.float32)
        self.spectrum = np.zeros(self.half + 1 + LANES, np.float32)
        self.mel = np.zeros(self.bands, np.float32)

        taper = np.zeros(self.size)
        # Unpacking adds what it should average: hence the half.
        taper[self.size - self.window:] = 0.5 * GAIN * window
        self.taper = taper.astype(np.float32)
        turn = np.exp(-2j * np.pi * np.arange(self.half) / self.size)
        self.turn = _parts(turn[: self.half // 2])
        quarter = np.arange(self.half // 4)
        self.twiddles = np.concatenate(
            [_parts(np.exp(-2j * np.pi * m * quarter / self.half)) for m in (1, 2, 3)]
        )
        self._store(filters)
        self.reset()

    def _store(self, filters):
        """Keep of each band the bins that count, filled up to whole registers."""
        firsts, rows, weights = [], [], []
        for row in filters:
            bins = np.flatnonzero(row)
            first, last = bins.min(), bins.max() + 1
            pad = -(last - first) % LANES
            firsts.append(first)
            rows.append((last - first + pad) // LANES)
            weights += [row[first:last], np.zeros(pad)]
        self.first = np.array(firsts, np.intc)
        self.rows = np.array(rows, np.intc)
        self.weights = np.concatenate([*weights, np.zeros(1)]).astype(np.float32)

    @property
    def power(self):
        return np.asarray(self.mel) * np.float32(1.0 / POWER_GAIN)

    def reset(self):
        """Begin a new stream; everything before it is silence."""
        self.history[:] = 0.0
        self.mel[:] = 0.0
        self.filled = self.size
        self.position = 0
        self.frame = 0
        self.nonfinite = 0

    def frames_after(self, long long samples):
        """Return how many frames `samples` more samples complete."""
        if not 0 <= samples <= LONGEST - self.position:
            raise ValueError("samples must not be negative, nor the stream longer than its clock")
        return self._frames_after(samples)

    def skip(self, long long samples):
        """Pass over `samples` lost samples and return how many frames ended among them.

        The clock moves on; what came before joins directly to what comes next, since silence in
        between would sound like an onset.
        """
        cdef long long frames = self.frames_after(samples)
        self.position += samples
        self.frame += frames
        return frames

    def process(self, samples, out):
        """Take in `samples` and write the frames that they complete.

        Parameters
        ----------
        samples : float32 [n]
            Contiguous; any length.
        out : float32 [at least frames_after(n), bands]
            Contiguous; receives 10 * log10(power + floor).

        Returns
        -------
        int
            Frames written.

        Raises
        ------
        TypeError
            If an array is not float32, contiguous and of that many dimensions; nothing is converted silently.
        ValueError
            If `out` is too small.
        """
        cdef const float[::1] source
        cdef float[:, ::1] target
        cdef long long frames
        try:
            source = samples
            target = out
        except (ValueError, BufferError) as error:
            raise TypeError(
                f"need contiguous arrays, samples float32 [n] and out float32 [frames, bands]: {error}"
            ) from None
        if source is None or target is None:
            raise TypeError("need arrays, not None")
        frames = self._frames_after(source.shape[0])
        if target.shape[0] < frames or target.shape[1] != self.bands:
            raise ValueError(f"out must hold {frames} frames of {self.bands} bands")
        if source.shape[0] == 0:
            return 0
        # Giving the GIL away costs up to 5 ms of waiting where another thread wants it: too much for one hop.
        if frames > 8:
            with nogil:
                self._process(&source[0], source.shape[0], &target[0, 0])
        else:
            self._process(&source[0], source.shape[0], &target[0, 0] if frames else NULL)
        return frames

    cdef inline long long _end(self, long long frame) noexcept nogil:
        return <long long>floor((frame + 1) * self.hop_seconds * self.sample_rate + 0.5)

    cdef long long _frames_after(self, long long samples) noexcept nogil:
        cdef long long until = self.position + samples
        # A guess that rounding cannot make too high.
        cdef long long frame = max(self.frame, <long long>(until / (self.hop_seconds * self.sample_rate)) - 2)
        while self._end(frame) <= until:
            frame += 1
        return frame - self.frame

    cdef void _process(self, const float* samples, long long count, float* out) noexcept nogil:
        cdef long long part
        while count:
            if self.filled == self.capacity:
                self.filled = self.size
                memmove(&self.history[0], &self.history[self.capacity - self.size], self.size * sizeof(float))
            part = min(count, self._end(self.frame) - self.position, self.capacity - self.filled)
            self._append(samples, part)
            samples += part
            count -= part
            if self._end(self.frame) == self.position:
                self._transform(out)
                out += self.bands
                self.frame += 1

    cdef void _append(self, const float* samples, long long count) noexcept nogil:
        cdef float* target = &self.history[self.filled]
        cdef float value, size
        cdef long long i
        cdef long bad = 0
        for i in range(count):
            value = samples[i]
            size = fabsf(value)
            bad += not size <= LARGEST_FINITE  # true for NaN, too
            value = value if QUIETEST <= size <= LARGEST_FINITE else 0.0
            value = LOUDEST if value > LOUDEST else value
            target[i] = -LOUDEST if value < -LOUDEST else value
        self.nonfinite += bad
        self.filled += count
        self.position += count

    cdef void _transform(self, float* out) noexcept nogil:
        """Write the frame that ends with the newest sample."""
        cdef float* xr = &self.work[0, 0]
        cdef float* xi = &self.work[1, 0]
        cdef float* yr = &self.work[2, 0]
        cdef float* yi = &self.work[3, 0]
        cdef float* w = &self.twiddles[0]
        cdef Py_ssize_t half = self.half, quarter = self.half // 4, stride = 4
        pack(half, &self.history[self.filled - self.size], &self.taper[0], xr, xi)
        radix4_first(quarter, xr, xi, yr, yi, w)
        xr, yr = yr, xr
        xi, yi = yi, xi
        while 4 * stride <= half:
            # The literals let the compiler see that a stage's outputs lie apart.
            if stride == 4:
                radix4(4, quarter, xr, xi, yr, yi, w)
            elif stride == 16:
                radix4(16, quarter, xr, xi, yr, yi, w)
            elif stride == 64:
                radix4(64, quarter, xr, xi, yr, yi, w)
            elif stride == 256:
                radix4(256, quarter, xr, xi, yr, yi, w)
            else:
                radix4(stride, quarter, xr, xi, yr, yi, w)
            stride *= 4
            xr, yr = yr, xr
            xi, yi = yi, xi
        if 2 * stride == half:
            radix2_last(stride, xr, xi, yr, yi)
            xr, yr = yr, xr
            xi, yi = yi, xi
        xr[half] = xr[0]
        xi[half] = xi[0]
        unpack(half, xr, xi, &self.turn[0], &self.spectrum[0], &self.spectrum[half])
        # In the middle both twins are the same bin, and its twiddle is -i.
        self.spectrum[half // 2] = 4 * (xr[half // 2] * xr[half // 2] + xi[half // 2] * xi[half // 2])
        self._collect(out)

    cdef void _collect(self, float* out) noexcept nogil:
        """Sum the bins of each band, in four lanes, and take logarithms."""
        cdef const float* weight = &self.weights[0]
        cdef const float* power
        cdef float a, b, c, d
        cdef Py_ssize_t band
        for band in range(self.bands):
            power = &self.spectrum[self.first[band]]
            a = b = c = d = 0.0
            for _ in range(self.rows[band]):
                a += weight[0] * power[0]
                b += weight[1] * power[1]
                c += weight[2] * power[2]
                d += weight[3] * power[3]
                weight += LANES
                power += LANES
            self.mel[band] = (a + b) + (c + d)
        for band in range(self.bands):
            out[band] = DECIBEL * logf((self.mel[band] + self.floor) * (<float>1.0 / POWER_GAIN))


def _parts(values):
    """Return complex `values` as float32, real parts first."""
    return np.concatenate([values.real, values.imag]).astype(np.float32)


# --- PeakPicker ---


cdef enum:
    FLANK = 8  # frames after a hit in which its activation may rise further


cdef class PeakPicker:
    """Activations in, hits out, label by label, without looking ahead.

    A frame is a hit where the activation reaches the threshold and exceeds all of the `maximum_frames` frames
    before it, the velocity reaches the gate (0 at first), and the label's last hit lies at least its refractory
    frames back.

    Parameters
    ----------
    thresholds : float [labels]
    refractory_frames : int [labels]
    maximum_frames : int
    """

    cdef Py_ssize_t labels, depth, oldest
    cdef float[::1] thresholds, gates
    cdef long long[::1] refractory, since, flank
    cdef float[:, ::1] before

    def __cinit__(self, thresholds, refractory_frames, Py_ssize_t maximum_frames):
        self.labels = len(thresholds)
        if not 0 < self.labels == len(refractory_frames) or maximum_frames < 0:
            raise ValueError("need a threshold and refractory frames for each label, and maximum_frames >= 0")
        self.depth = maximum_frames
        self.thresholds = np.array(thresholds, np.float32)
        self.refractory = np.array(refractory_frames, np.int64)
        self.gates = np.zeros(self.labels, np.float32)
        self.since = np.empty(self.labels, np.int64)
        self.flank = np.empty(self.labels, np.int64)
        self.before = np.empty((max(self.depth, 1), self.labels), np.float32)
        self.reset()

    def reset(self):
        """Begin a new stream: nothing was heard before."""
        self.before[:] = -np.inf
        self.since[:] = np.iinfo(np.int64).max // 2
        self.flank[:] = 0
        self.oldest = 0

    def set(self, thresholds, refractory_frames, gates):
        """Decide by other limits from the next frame on, one of each for each label; what was heard stays known."""
        if not self.labels == len(thresholds) == len(refractory_frames) == len(gates):
            raise ValueError(f"need a threshold, refractory frames and a gate for each of {self.labels} labels")
        np.asarray(self.thresholds)[:] = thresholds
        np.asarray(self.refractory)[:] = refractory_frames
        np.asarray(self.gates)[:] = gates
        np.minimum(self.flank, np.maximum(np.subtract(self.refractory, self.since), 0), out=np.asarray(self.flank))

    def skip(self, long long frames):
        """Pass over lost frames: the time since the last hits goes on.

        Activations before and after stand side by side, as the audio that they come from: what a peak that was
        reported is still to bring, for `FLANK` frames at most, is no peak of its own.
        """
        if frames < 0:
            raise ValueError("frames must not be negative")
        for label in range(self.labels):
            self.since[label] += frames

    def process(self, activations, hits, velocities=None):
        """Decide frame by frame.

        Parameters
        ----------
        activations : float32 [frames, labels]
        hits : uint8 [at least frames, labels]
            Receives 1 for a hit and 0 otherwise.
        velocities : float32 [frames, labels], optional
            Without them, gates have no effect.

        Returns
        -------
        int
            Number of hits.

        Raises
        ------
        TypeError
            If an array is of another type or not contiguous; nothing is converted silently.
        ValueError
            If `hits` is too small, or the number of labels or of velocities is wrong.
        """
        cdef const float[:, ::1] source, strengths = None
        cdef unsigned char[:, ::1] target
        cdef const float* velocity = NULL
        cdef Py_ssize_t frame
        cdef long total = 0
        try:
            source = activations
            target = hits
            strengths = velocities
        except (ValueError, BufferError) as error:
            raise TypeError(
                "need contiguous arrays, activations and velocities float32 and hits uint8 [frames, labels]: "
                f"{error}"
            ) from None
        if source is None or target is None:
            raise TypeError("need arrays, not None")
        if not source.shape[1] == target.shape[1] == self.labels or target.shape[0] < source.shape[0]:
            raise ValueError(f"need activations and as many hits for {self.labels} labels")
        if strengths is not None and not (
            strengths.shape[0] == source.shape[0] and strengths.shape[1] == source.shape[1]
        ):
            raise ValueError("need as many velocities as activations")
        for frame in range(source.shape[0]):
            if strengths is not None:
                velocity = &strengths[frame, 0]
            total += self._step(&source[frame, 0], velocity, &target[frame, 0])
        return total

    cdef long _step(self, const float* activation, const float* velocity, unsigned char* hit) noexcept nogil:
        cdef long total = 0
        cdef Py_ssize_t label, i
        cdef bint rises
        for label in range(self.labels):
            self.since[label] += 1
            self.flank[label] -= self.flank[label] > 0
            rises = activation[label] >= self.thresholds[label]
            for i in range(self.depth):
                rises &= activation[label] > self.before[i, label]
            if velocity != NULL:
                rises &= velocity[label] >= self.gates[label]
            hit[label] = rises and self.since[label] >= self.refractory[label] and self.flank[label] == 0
            if hit[label]:
                self.since[label] = 0
                self.flank[label] = min(self.refractory[label], FLANK)
                total += 1
            self.before[self.oldest, label] = activation[label]
        self.oldest = self.oldest + 1 if self.oldest + 1 < self.depth else 0
        return total
