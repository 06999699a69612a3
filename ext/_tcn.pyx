"""A step of a temporal convolutional network: a log-mel frame in, activations out.

Computes what the exported graph of a `models.tcn.TCN` computes (`models.streaming` folds normalisations and biases, and
describes the graph). For one frame nearly all work is to read each weight once, from memory where a live stream left
the caches to others: so weights have 16 bits and lie in the order in which they are used. What was heard stays where
it is, in a ring for each block. Nothing is allocated after construction, and no kernel needs the GIL.

Contents
--------
TCN
"""

from operator import index

import numpy as np

from libc.math cimport expf
from libc.stdint cimport int16_t


cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>

    /* Registers of eight floats where the processor has them: a third less time. */
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) && !defined(ONE_CLONE)
    #define CLONES __attribute__((target_clones("default", "avx2")))
    #else
    #define CLONES
    #endif

    /* Add x [rows] times weights [rows, columns], each row times its scale, to out [columns]. Four rows at a time, so
       that out is read and written less often; rows whose x is 0, as behind rectifiers, are not read. */
    CLONES static void add_product(float *restrict out, const float *restrict x, const int16_t *restrict weights,
                                   const float *restrict scales, ptrdiff_t rows, ptrdiff_t columns) {
        ptrdiff_t row = 0;
        while (row < rows) {
            const int16_t *of[4] = {weights, weights, weights, weights};
            float by[4] = {0, 0, 0, 0};
            for (int count = 0; row < rows && count < 4; row++)
                if (x[row] != 0) {
                    by[count] = x[row] * scales[row];
                    of[count++] = weights + row * columns;
                }
            const int16_t *restrict a = of[0], *restrict b = of[1], *restrict c = of[2], *restrict d = of[3];
            for (ptrdiff_t i = 0; i < columns; i++)
                out[i] += (by[0] * a[i] + by[1] * b[i]) + (by[2] * c[i] + by[3] * d[i]);
        }
    }
    """
    void add_product(
        float* out, const float* x, const int16_t* weights, const float* scales, Py_ssize_t rows, Py_ssize_t columns
    ) noexcept nogil


cdef float FAINT = 1e-20  # smaller sums are 0: what fades would become denormal, a hundred times as dear


cdef inline float positive(float x) noexcept nogil:
    return x if x > 0 else 0


cdef inline float logistic(float x) noexcept nogil:
    return 1 / (1 + expf(-x))


cdef class TCN:
    """A network and what it remembers of its stream; `dance.tcn` makes it from a model file.

    Parameters
    ----------
    frontend : mapping from str to float
        ``silence_db``, ``scale_db``, ``fade``, ``full_scale``, ``decay``, and ``depth`` where the frontend has a floor;
        see `models.frontend.Frontend`.
    lift : mapping, optional
        ``loud``, ``least``, ``decay``, ``trust``, ``share``, ``free``, ``most``, and float32 [bands] each ``usual``,
        ``middle``, ``lows``; see `models.frontend.Lift`.
    dilations : sequence of int
        Of the blocks.
    weights : int16 [rows, channels], rows being 3 * 3 * bands + len(dilations) * 4 * channels
        The first convolution's, oldest frame first; for each block the weights for what was heard two dilations ago,
        one ago and now, and those of the mixing layer.
    scales : float32 [rows]
        What a row of the weights is to be multiplied by.
    biases : float32 [1 + len(dilations), channels]
        What each rectifier inside adds first.
    skipped : float32 [len(dilations) + 1, channels]
        What the residual stream lacks before each block, and at the end.
    heads : int16 [channels, 2 * labels + size]
        For onsets, velocities and the timbre.
    heads_scales : float32 [channels]
    heads_bias : float32 [2 * labels + size]
    bands, labels : int

    Raises
    ------
    ValueError
        If shapes do not belong together.
    """

    cdef readonly Py_ssize_t bands, labels, size
    cdef Py_ssize_t channels, blocks, stem
    cdef bint deep, lifts
    cdef float silence, scale, fade, full_scale, decay, depth
    cdef float loud, least, loud_decay, trust, share, free, most
    cdef const int16_t[:, ::1] weights, heads
    cdef const float[:, ::1] biases, skipped
    cdef const float[::1] scales, heads_scales, heads_bias, usual, middle, lows
    cdef Py_ssize_t[::1] dilations, begins, places
    # levels of the last frame; decayed sums of levels and of their weight, the loudest of late, sums of loud ones
    cdef float[::1] level, last, sums, loud_sums
    cdef float weight, peak, loud_weight
    cdef float[:, ::1] frames, heard  # the last three inputs; what each block heard, twice its dilation
    cdef float[::1] stream, hidden, answers

    def __cinit__(
        self, frontend, lift, dilations, weights, scales, biases, skipped, heads, heads_scales, heads_bias,
        Py_ssize_t bands, Py_ssize_t labels,
    ):
        if np.ndim(weights) != 2 or np.ndim(heads) != 2:
            raise ValueError("weights and heads must be of two dimensions")
        dilations = [index(dilation) for dilation in dilations]
        self.bands, self.labels = bands, labels
        self.blocks, self.channels = len(dilations), weights.shape[1]
        self.size = heads.shape[1] - 2 * labels
        rows = 9 * bands + 4 * self.blocks * self.channels
        shapes = [weights.shape, scales.shape, biases.shape, skipped.shape, heads_scales.shape, heads_bias.shape]
        each = (self.blocks + 1, self.channels)
        if (
            bands < 1 or labels < 1 or self.size < 0 or min(dilations, default=0) < 1
            or shapes != [(rows, self.channels), (rows,), each, each, (self.channels,), heads.shape[1:]]
            or heads.shape[0] != self.channels
            or lift and any(lift[name].shape != (bands,) for name in ("usual", "middle", "lows"))
        ):
            raise ValueError(f"these do not belong to one network of {bands} bands: {shapes}, dilations {dilations}")
        self.silence, self.scale = frontend["silence_db"], frontend["scale_db"]
        self.fade, self.full_scale, self.decay = frontend["fade"], frontend["full_scale"], frontend["decay"]
        self.deep, self.lifts = frontend.get("depth") is not None, lift is not None
        self.depth = frontend["depth"] if self.deep else 0
        if self.lifts:
            self.loud, self.least, self.loud_decay = lift["loud"], lift["least"], lift["decay"]
            self.trust, self.share, self.free, self.most = lift["trust"], lift["share"], lift["free"], lift["most"]
            self.usual, self.middle, self.lows = lift["usual"], lift["middle"], lift["lows"]
        self.weights, self.scales, self.biases, self.skipped = weights, scales, biases, skipped
        self.heads, self.heads_scales, self.heads_bias = heads, heads_scales, heads_bias
        # Python's own integers: what is too large for an array is refused here, not wrapped below.
        self.heard = np.zeros((2 * sum(dilations), self.channels), np.float32)
        self.dilations = np.array(dilations, np.intp)
        self.begins = np.concatenate([[0], 2 * np.cumsum(dilations)]).astype(np.intp)
        self.places = np.zeros(self.blocks, np.intp)
        self.level, self.last, self.sums, self.loud_sums = np.zeros((4, bands), np.float32)
        self.frames = np.zeros((3, 3 * bands), np.float32)
        self.stream, self.hidden = np.zeros((2, self.channels), np.float32)
        self.answers = np.zeros(heads.shape[1], np.float32)
        self.reset()

    def reset(self):
        """Begin a new stream: silence was before."""
        self.last[:] = 0.0
        self.sums[:] = 0.0
        self.loud_sums[:] = 0.0
        self.weight = self.peak = self.loud_weight = 0
        self.frames[:] = 0.0
        self.heard[:] = 0.0
        self.places[:] = 0
        self.stem = 0

    def step(self, const float[::1] frame, float[::1] onset, float[::1] velocity, float[::1] timbre):
        """Take in one frame.

        Parameters
        ----------
        frame : float32 [bands]
            In dB.
        onset, velocity : float32 [labels]
            Filled with probabilities and velocities.
        timbre : float32 [size]
            Filled.

        Raises
        ------
        ValueError
            If a shape is wrong.
        """
        if (
            frame.shape[0] != self.bands or onset.shape[0] != self.labels or velocity.shape[0] != self.labels
            or timbre.shape[0] != self.size
        ):
            raise ValueError(f"need {self.bands} bands, {self.labels} labels and {self.size} dimensions of timbre")
        cdef Py_ssize_t i
        self._listen(&frame[0])
        self._convolve()
        for i in range(self.labels):
            onset[i] = logistic(self.answers[i])
            velocity[i] = logistic(self.answers[self.labels + i])
        for i in range(self.size):
            timbre[i] = self.answers[2 * self.labels + i]

    cdef void _listen(self, const float* frame) noexcept nogil:
        """The frontend: level, rise, and level against its mean become the newest of `frames`."""
        cdef Py_ssize_t band, bands = self.bands
        cdef float loudest = 0, floor = 0, level, before
        cdef float* inputs = &self.frames[self.stem, 0]
        for band in range(bands):
            self.level[band] = (frame[band] - self.silence) / self.scale
            if band == 0 or self.level[band] > loudest:
                loudest = self.level[band]
        self.peak = max(min(loudest, self.full_scale), self.peak - self.fade)
        if self.lifts:
            self._lift(loudest)
        if self.deep:
            floor = self.peak - self.depth
        self.weight = self.decay * self.weight + (1 - self.decay)
        for band in range(bands):
            level, before = self.level[band], self.last[band]
            self.last[band] = level
            if self.deep:
                level, before = max(level, floor), max(before, floor)
            self.sums[band] = self.decay * self.sums[band] + (1 - self.decay) * level
            if -FAINT < self.sums[band] < FAINT:
                self.sums[band] = 0
            inputs[band] = level
            inputs[bands + band] = 2 * positive(level - before)
            inputs[2 * bands + band] = level - self.sums[band] / self.weight

    cdef void _lift(self, float loudest) noexcept nogil:
        """Add to the lows what a channel took from them."""
        cdef Py_ssize_t band
        cdef float mean, middle = 0, trust, missing
        cdef float counts = max(self.peak - self.loud, self.least) < loudest <= self.full_scale
        self.loud_weight = self.loud_decay * self.loud_weight + (1 - self.loud_decay) * counts
        if self.loud_weight < FAINT:
            self.loud_weight = 0
        for band in range(self.bands):
            self.loud_sums[band] = (
                self.loud_decay * self.loud_sums[band] + (1 - self.loud_decay) * counts * self.level[band]
            )
            if -FAINT < self.loud_sums[band] < FAINT:
                self.loud_sums[band] = 0
            middle += self.middle[band] * self.loud_sums[band] / max(self.loud_weight, <float> 1e-9)
        trust = self.loud_weight / (self.loud_weight + self.trust)
        for band in range(self.bands):
            mean = self.loud_sums[band] / max(self.loud_weight, <float> 1e-9)
            missing = self.usual[band] + middle - mean - self.free
            self.level[band] += max(<float> 0, min(self.share * missing, self.most)) * self.lows[band] * trust

    cdef void _convolve(self) noexcept nogil:
        """The first convolution, the blocks and the heads: the newest of `frames` becomes `answers`."""
        cdef Py_ssize_t i, block, dilation, oldest, middle, n = self.channels, inputs = 3 * self.bands
        cdef const int16_t* weights = &self.weights[0, 0]
        cdef const float* scales = &self.scales[0]
        cdef float* stream = &self.stream[0]
        cdef float* hidden = &self.hidden[0]
        cdef float* heard
        for i in range(n):
            stream[i] = self.biases[0, i]
        for i in range(3):
            self.stem = self.stem + 1 if self.stem < 2 else 0  # the place after the newest is the oldest's
            add_product(stream, &self.frames[self.stem, 0], weights, scales, inputs, n)
            weights += inputs * n
            scales += inputs
        self.stem = self.stem + 1 if self.stem < 2 else 0
        for i in range(n):
            stream[i] = positive(stream[i])
        for block in range(self.blocks):
            dilation, oldest = self.dilations[block], self.places[block]
            middle = oldest + dilation if oldest < dilation else oldest - dilation
            heard = &self.heard[self.begins[block], 0]
            for i in range(n):
                hidden[i] = self.biases[1 + block, i]
            add_product(hidden, heard + oldest * n, weights, scales, n, n)
            add_product(hidden, heard + middle * n, weights + n * n, scales + n, n, n)
            add_product(hidden, stream, weights + 2 * n * n, scales + 2 * n, n, n)
            for i in range(n):
                heard[oldest * n + i] = stream[i] + self.skipped[block, i]
                hidden[i] = positive(hidden[i])
            self.places[block] = oldest + 1 if oldest + 1 < 2 * dilation else 0
            add_product(stream, hidden, weights + 3 * n * n, scales + 3 * n, n, n)
            weights += 4 * n * n
            scales += 4 * n
        for i in range(n):
            stream[i] = positive(stream[i] + self.skipped[self.blocks, i])
        for i in range(self.answers.shape[0]):
            self.answers[i] = self.heads_bias[i]
        add_product(&self.answers[0], stream, &self.heads[0, 0], &self.heads_scales[0], n, self.answers.shape[0])
