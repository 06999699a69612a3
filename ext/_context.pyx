"""What the song has said so far about activations: the weighing between network and peak picking.

Arrays are float32. Nothing is allocated after construction, and no kernel needs the GIL. `dance.votes`,
`dance.expectation` and `dance.evidence` make these classes from a spec.

Contents
--------
Votes
    Activations weighed by what hits that sounded alike were taken for.
Expectation
    Activations weighed by what repeats: where a hit surprises, it needs more proof.
Evidence
    Activations weighed by how surely drums were heard at all.
"""

import numpy as np

from libc.math cimport expf, logf, sqrtf
from libc.string cimport memmove


cdef extern from *:
    # The kernels' pointers never overlap; without this promise the compiler does not vectorise.
    ctypedef float* Restrict "float *__restrict"
    ctypedef const float* ConstRestrict "const float *__restrict"


cdef enum:
    LANES = 4  # floats of one SSE or NEON register


# --- What they share ---


cdef int check_weighing(const float[:, ::1] source, const float[:, ::1] target, Py_ssize_t labels) except -1:
    """Refuse activations, and where they are to go, that are none or do not fit."""
    if source is None or target is None:
        raise TypeError("need arrays, not None")
    if not source.shape[1] == target.shape[1] == labels or target.shape[0] < source.shape[0]:
        raise ValueError(f"need activations and as large an out for {labels} labels")
    return 0


cdef void pass_on(const float[:, ::1] source, float[:, ::1] target) noexcept:
    """Copy activations as they are."""
    if source.shape[0]:
        memmove(&target[0, 0], &source[0, 0], source.shape[0] * source.shape[1] * sizeof(float))


cdef inline void accumulate(
    Py_ssize_t count, float factor, ConstRestrict values, Restrict sums
) noexcept nogil:
    """Add one component of a vector times that of each of many others to their products."""
    cdef Py_ssize_t j
    for j in range(count):
        sums[j] += factor * values[j]


cdef float OUTSPOKEN = 3.0  # log-odds beyond which an activation counts no more


cdef inline float log_odds(float activation) noexcept nogil:
    """Return the log-odds of an activation, at most `OUTSPOKEN` either way."""
    cdef float odds
    if activation <= 0:
        return -OUTSPOKEN
    if activation >= 1:
        return OUTSPOKEN
    odds = logf(activation / (1 - activation))
    return max(-OUTSPOKEN, min(OUTSPOKEN, odds))


cdef class Weighing:
    """Activations in, activations out."""

    cdef readonly Py_ssize_t labels
    cdef float strength

    def process(self, activations, out):
        """Weigh frame by frame.

        Parameters
        ----------
        activations : float32 [frames, labels]
            Contiguous; 0 to 1.
        out : float32 [at least frames, labels]
            Contiguous; may be `activations`.

        Raises
        ------
        TypeError
            If an array is of another type or not contiguous; nothing is converted silently.
        ValueError
            If `out` is too small or the number of labels is wrong.
        """
        cdef const float[:, ::1] source
        cdef float[:, ::1] target
        cdef Py_ssize_t frame
        try:
            source = activations
            target = out
        except (ValueError, BufferError) as error:
            raise TypeError(f"need contiguous arrays, float32 [frames, labels]: {error}") from None
        check_weighing(source, target, self.labels)
        if self.strength == 0:
            pass_on(source, target)
            return
        for frame in range(source.shape[0]):
            self._step(&source[frame, 0], &target[frame, 0])

    cdef void _step(self, const float* activation, float* out) noexcept nogil:
        pass


# --- Votes ---


cdef enum:
    BLOCKS = 20  # steps in which the mean forgets

FAINTEST = 0.018  # activation from which something may be a hit: log-odds of -4
cdef float FAINT_HIT = FAINTEST
cdef float WITHDRAWN = 1e-6  # keeps a timbre equal to the mean from being divided by nothing


cdef class Votes:
    """Activations and timbres in, activations out: hits that sound alike are taken for the same drum.

    Every peak of activations, faint ones too, is remembered for a while: its timbre, less the mean of that while and
    scaled to length 1, and the log-odds of its activations. A frame that may be a hit asks them, each weighing by
    ``exp(sharpness * (cosine - 1))``, and its log-odds move towards their mean. They do by
    ``strength * weights / (weights + 1)``, so that what nothing resembles stays as it is.

    Parameters
    ----------
    labels : int
    size : int
        Dimensions of a timbre.
    strength : float
        From 0, which changes nothing, to 1: only others count.
    sharpness : float
    hits : int
        How many vote at most, the last ones.
    first : float
        How many frames of nothing the mean begins with.
    memory : int
        Frames for which hits vote, and over which the mean goes, in `BLOCKS` steps: then all is forgotten.
    """

    cdef readonly Py_ssize_t labels, size
    cdef Py_ssize_t capacity, filled, newest, block, blocks, in_block, block_frames
    cdef long long now, memory
    cdef float strength, sharpness, first, before, last
    cdef float[:, ::1] timbres, odds, sums
    cdef float[::1] total, timbre, own, weights, votes
    cdef long long[::1] born

    def __cinit__(
        self,
        Py_ssize_t labels,
        Py_ssize_t size,
        double strength,
        double sharpness,
        Py_ssize_t hits,
        double first,
        long long memory,
    ):
        if labels < 1 or size < 0 or hits < 1 or not 0 <= strength <= 1 or not first >= 0 or memory < BLOCKS:
            raise ValueError(f"need a label, a hit, a strength of 0 to 1 and a memory of {BLOCKS} frames")
        self.labels = labels
        self.size = size
        self.strength = strength if size else 0
        self.sharpness = sharpness
        self.capacity = hits
        self.first = first
        self.memory = memory
        self.block_frames = memory // BLOCKS
        # Timbres stand in columns, so that all hits are compared in one component after the other. One column more
        # takes the newest frame, which may turn out to be a hit.
        self.timbres = np.zeros((max(size, 1), hits + 1), np.float32)
        self.odds = np.zeros((labels, hits + 1), np.float32)
        self.weights = np.zeros(hits + 1, np.float32)
        self.born = np.zeros(hits + 1, np.int64)
        self.sums = np.zeros((BLOCKS, max(size, 1)), np.float32)
        self.total, self.timbre = np.zeros((2, max(size, 1)), np.float32)
        self.own, self.votes = np.zeros((2, labels), np.float32)
        self.reset()

    def reset(self):
        """Begin a new stream: nothing was heard before."""
        self.sums[:] = 0.0
        self.total[:] = 0.0
        self.now = self.filled = self.newest = self.block = self.blocks = self.in_block = 0
        self.before = self.last = 0

    def skip(self, long long frames):
        """Pass over lost frames: hits grow older, and no peak reaches over the gap."""
        if frames < 0:
            raise ValueError("frames must not be negative")
        self.now += frames
        self.before = self.last = 0

    def process(self, activations, timbres, out):
        """Weigh frame by frame.

        Parameters
        ----------
        activations : float32 [frames, labels]
            Contiguous; 0 to 1.
        timbres : float32 [frames, size]
            Contiguous.
        out : float32 [at least frames, labels]
            Contiguous; may be `activations`.

        Raises
        ------
        TypeError
            If an array is of another type or not contiguous; nothing is converted silently.
        ValueError
            If `out` is too small, or the number of labels, of dimensions or of timbres is wrong.
        """
        cdef const float[:, ::1] source, sounds
        cdef float[:, ::1] target
        cdef Py_ssize_t frame
        try:
            source = activations
            sounds = timbres
            target = out
        except (ValueError, BufferError) as error:
            raise TypeError(f"need contiguous arrays, float32 [frames, labels or size]: {error}") from None
        check_weighing(source, target, self.labels)
        if sounds is None:
            raise TypeError("need timbres, not None")
        if sounds.shape[0] != source.shape[0] or sounds.shape[1] != self.size:
            raise ValueError(f"need a timbre of {self.size} dimensions for each frame")
        if self.strength == 0:
            pass_on(source, target)
            return
        for frame in range(source.shape[0]):
            self._step(&source[frame, 0], &sounds[frame, 0], &target[frame, 0])

    cdef void _step(self, const float* activation, const float* timbre, float* out) noexcept nogil:
        cdef Py_ssize_t label, i
        cdef float moved, share, norm = 0, highest = 0
        self.now += 1
        self.in_block += 1
        share = 1 / (self.blocks * self.block_frames + self.in_block + self.first)
        for i in range(self.size):
            self.sums[self.block, i] += timbre[i]
            self.total[i] += timbre[i]
            self.timbre[i] = timbre[i] - share * self.total[i]
            norm += self.timbre[i] * self.timbre[i]
        if self.in_block == self.block_frames:
            self._next_block()
        norm = 1 / (sqrtf(norm) + WITHDRAWN)
        for i in range(self.size):
            self.timbre[i] *= norm
        for label in range(self.labels):
            self.own[label] = log_odds(activation[label])
            highest = max(highest, activation[label])
        moved = self._ask() if highest >= FAINT_HIT else 0
        for label in range(self.labels):
            out[label] = activation[label]
            if moved > 0 and activation[label] >= FAINT_HIT:
                out[label] /= out[label] + (1 - out[label]) * expf(moved * (self.own[label] - self.votes[label]))
        # the frame before was a peak if this one is no higher: it votes from now on, and the oldest hit makes room
        if self.last >= FAINT_HIT and self.last > self.before and self.last >= highest:
            self.newest = (self.newest + 1) % (self.capacity + 1)
            self.filled = min(self.filled + 1, self.capacity)
        self.before = self.last
        self.last = highest
        self.born[self.newest] = self.now
        for i in range(self.size):
            self.timbres[i, self.newest] = self.timbre[i]
        for label in range(self.labels):
            self.odds[label, self.newest] = self.own[label]

    cdef float _ask(self) noexcept nogil:
        """Set the mean vote on the present timbre for each label; return by what share log-odds move towards it."""
        cdef Py_ssize_t i, j, label, count = self.capacity + 1 if self.filled == self.capacity else self.filled
        cdef float total = 0, sum
        if count == 0:
            return 0
        for j in range(count):
            self.weights[j] = -1
        for i in range(self.size):
            accumulate(count, self.timbre[i], &self.timbres[i, 0], &self.weights[0])
        for j in range(count):
            self.weights[j] = expf(self.sharpness * self.weights[j]) if self.now - self.born[j] <= self.memory else 0
        if self.filled == self.capacity:
            self.weights[self.newest] = 0  # it has no vote yet
        for j in range(count):
            total += self.weights[j]
        for label in range(self.labels):
            sum = 0
            for j in range(count):
                sum += self.weights[j] * self.odds[label, j]
            self.votes[label] = sum / total if total > 0 else 0
        return self.strength * total / (total + 1)

    cdef void _next_block(self) noexcept nogil:
        """Begin the next block of the mean in place of the oldest one; sum up anew, so that no error grows."""
        cdef Py_ssize_t i, j
        self.block = (self.block + 1) % BLOCKS
        self.blocks = min(self.blocks + 1, BLOCKS - 1)
        self.in_block = 0
        for i in range(self.size):
            self.sums[self.block, i] = 0
            self.total[i] = 0
        for j in range(BLOCKS):
            for i in range(self.size):
                self.total[i] += self.sums[j, i]


# --- Expectation ---


cdef enum:
    SPREAD = 5  # frames over which activations are smoothed, and within which a hit was on time
    LATE = 2  # frames after which the middle of those is known

cdef float[SPREAD] SMOOTH = [1.0 / 9, 2.0 / 9, 3.0 / 9, 2.0 / 9, 1.0 / 9]
cdef float FORGOTTEN = 8.0  # exponent below which a lag has no weight
cdef float UNLIKE = 0.05  # similarity up to which nothing repeats
cdef float DOUBT = 0.4  # certainty of expecting nothing where little repeats
cdef float FAINT = 1e-6  # power of activations below which nothing repeats
cdef float NORMAL = 1e-18  # keeps correlations from becoming denormal numbers in a long silence


cdef inline float compare(
    Py_ssize_t lags,
    float share,
    float scale,
    Restrict products,
    Restrict correlation,
    ConstRestrict scales,
    Restrict similarity,
) noexcept nogil:
    """Let the products flow into the running correlations; return the highest similarity, at least 0."""
    cdef Py_ssize_t j
    cdef float a = 0, b = 0, c = 0, d = 0
    for j in range(lags):
        correlation[j] += share * (products[j] - correlation[j]) + NORMAL
        products[j] = 0
        similarity[j] = correlation[j] * (scale * scales[j])
    for j in range(0, lags, 4):  # LANES
        a = similarity[j] if similarity[j] > a else a
        b = similarity[j + 1] if similarity[j + 1] > b else b
        c = similarity[j + 2] if similarity[j + 2] > c else c
        d = similarity[j + 3] if similarity[j + 3] > d else d
    return max(max(a, b), max(c, d))


cdef class Expectation(Weighing):
    """Activations in, activations out: a hit that surprises where music repeats itself is less probable.

    The activations of late are correlated with those of each lag before; what followed then is expected now, the lags
    weighing by their similarity as in attention (softmax). `expected` is the mean of activations at these lags, and
    `certainty` the highest similarity, at least `DOUBT`. The log-odds of an activation rise by
    ``strength * (expected - certainty)``: they rise where a hit is expected more surely than the repetition is exact,
    and fall where the repetition contains none, the more so the more exact it is. Where nothing repeats all fall
    alike, a little.

    Parameters
    ----------
    labels : int
    strength : float
        In logits; 0 changes nothing.
    shortest, longest : int
        Lags in frames.
    similar_frames, mean_frames : float
        Time constants of the correlation, and of the mean that is taken off before.
    sharpness : float
        Weight of a lag is exp(sharpness * similarity).
    """

    cdef Py_ssize_t longest, lags, capacity, filled
    cdef float share, mean_share, sharpness, power
    cdef float[:, ::1] recent, keys, values
    cdef float[::1] means, scales, products, correlation, similarity, expected, nothing

    def __cinit__(
        self,
        Py_ssize_t labels,
        double strength,
        Py_ssize_t shortest,
        Py_ssize_t longest,
        double similar_frames,
        double mean_frames,
        double sharpness,
    ):
        if labels < 1 or not SPREAD < shortest <= longest or not similar_frames > 1 or not mean_frames > 1:
            raise ValueError(f"need a label, lags of more than {SPREAD} frames and times of more than one")
        self.labels = labels
        self.strength = strength
        self.longest = longest
        self.lags = longest - shortest + 1
        self.share = 1 / similar_frames
        self.mean_share = 1 / mean_frames
        self.sharpness = sharpness
        # Lags lie in a row, the longest first; a longer buffer makes moving them back rare.
        self.capacity = 3 * longest
        self.recent = np.zeros((SPREAD, labels), np.float32)
        self.keys = np.zeros((labels, self.capacity), np.float32)
        self.values = np.zeros((labels, self.capacity), np.float32)
        self.scales = np.zeros(self.capacity, np.float32)
        self.means = np.zeros(labels, np.float32)
        self.expected = np.zeros(labels, np.float32)
        self.products = np.zeros(self.lags, np.float32)
        self.correlation = np.zeros(self.lags, np.float32)
        self.similarity = np.zeros(self.lags + LANES, np.float32)  # filled up to whole registers
        self.nothing = np.zeros(labels, np.float32)
        self.reset()

    def reset(self):
        """Begin a new stream: nothing was heard before."""
        self.recent[:] = 0.0
        self.keys[:] = 0.0
        self.values[:] = 0.0
        self.scales[:] = 0.0
        self.means[:] = 0.0
        self.correlation[:] = 0.0
        self.power = 0
        self.filled = self.longest + 1

    def skip(self, long long frames):
        """Pass over lost frames as if they had been silent, so that what repeats stays in time."""
        cdef long long frame
        if frames < 0:
            raise ValueError("frames must not be negative")
        if self.strength == 0:
            return
        for frame in range(min(frames, self.longest)):
            self._remember(&self.nothing[0])

    cdef void _step(self, const float* activation, float* out) noexcept nogil:
        cdef Py_ssize_t label
        cdef float certainty, odds
        certainty = self._expect(self._remember(activation))
        for label in range(self.labels):
            odds = expf(self.strength * (certainty - self.expected[label]))
            out[label] = activation[label] / (activation[label] + (1 - activation[label]) * odds)

    cdef float _remember(self, const float* activation) noexcept nogil:
        """Store the frame that is the middle of the last ones now; return how well some lag resembles it."""
        cdef Py_ssize_t label, i, first
        cdef float smooth, highest, power = 0
        if self.filled == self.capacity:
            first = self.capacity - self.longest - 1
            for label in range(self.labels):
                memmove(&self.keys[label, 0], &self.keys[label, first], (self.longest + 1) * sizeof(float))
                memmove(&self.values[label, 0], &self.values[label, first], (self.longest + 1) * sizeof(float))
            memmove(&self.scales[0], &self.scales[first], (self.longest + 1) * sizeof(float))
            self.filled = self.longest + 1
        first = self.filled - self.longest
        memmove(&self.recent[0, 0], &self.recent[1, 0], (SPREAD - 1) * self.labels * sizeof(float))
        for label in range(self.labels):
            self.recent[SPREAD - 1, label] = activation[label]
            smooth = highest = 0
            for i in range(SPREAD):
                smooth += SMOOTH[i] * self.recent[i, label]
                highest = self.recent[i, label] if self.recent[i, label] > highest else highest
            self.means[label] += self.mean_share * (smooth - self.means[label])
            smooth -= self.means[label]
            power += smooth * smooth
            self.keys[label, self.filled] = smooth
            self.values[label, self.filled] = highest
            accumulate(self.lags, smooth, &self.keys[label, first], &self.products[0])
        self.power += self.share * (power - self.power)
        self.scales[self.filled] = 1 / sqrtf(self.power + FAINT)
        self.filled += 1
        return compare(
            self.lags,
            self.share,
            self.scales[self.filled - 1],
            &self.products[0],
            &self.correlation[0],
            &self.scales[first],
            &self.similarity[0],
        )

    cdef float _expect(self, float best) noexcept nogil:
        """Set what is expected of the newest frame, `best` being the highest similarity; return how certain that is."""
        # the newest frame is LATE frames later than the one stored last
        cdef Py_ssize_t label, j, first = self.filled - 1 - self.longest + LATE
        cdef float weight, total = 0, least = best - FORGOTTEN / self.sharpness
        for label in range(self.labels):
            self.expected[label] = 0
        if best < UNLIKE:
            return DOUBT
        for j in range(self.lags):
            if self.similarity[j] >= least:
                weight = expf(self.sharpness * (self.similarity[j] - best))
                total += weight
                for label in range(self.labels):
                    self.expected[label] += weight * self.values[label, first + j]
        for label in range(self.labels):
            self.expected[label] /= total
        return max(best, DOUBT)


# --- Evidence ---


cdef enum:
    APART = 5  # frames without a hit after which the next one testifies for itself

cdef float REFUTED = -1.0  # evidence below which nothing is doubted more
cdef float PROVEN = 1.0  # and from which nothing is doubted


cdef class Evidence(Weighing):
    """Activations in, activations out: while no drum was heard for sure, a hit needs more proof.

    Each hit testifies for or against drums, as in a sequential probability ratio test (Wald 1945) that is kept within
    bounds (Page 1954): ``log-odds - neutral``, of the highest activation of any label, is added to what the hits before
    it have said, which fades, and stays between -1 and `most`. Log-odds of all activations fall by
    ``strength * (1 - evidence)``; from an evidence of 1 on they stay as they are.

    Parameters
    ----------
    labels : int
    strength : float
        In logits, while nothing was said; 0 changes nothing.
    neutral : float
        Log-odds of a hit that says nothing.
    least : float
        Log-odds from which an activation is a hit that testifies, be it against.
    most : float
        Bound of the evidence, at least 1.
    fade_frames : float
        Time constant of forgetting.
    """

    cdef float neutral, least, most, keep, before, strongest
    cdef Py_ssize_t quiet

    def __cinit__(
        self,
        Py_ssize_t labels,
        double strength,
        double neutral,
        double least,
        double most,
        double fade_frames,
    ):
        if labels < 1 or not most >= PROVEN or not fade_frames > 0:
            raise ValueError(f"need a label, a bound of at least {PROVEN:g} and a time above 0")
        self.labels = labels
        self.strength = strength
        self.neutral = neutral
        self.least = least
        self.most = most
        self.keep = expf(-1 / fade_frames)
        self.reset()

    def reset(self):
        """Begin a new stream: nothing was heard before."""
        self.before = 0
        self.quiet = APART

    def skip(self, long long frames):
        """Pass over lost frames: what was said fades."""
        if frames < 0:
            raise ValueError("frames must not be negative")
        self.before = self._evidence() * self.keep ** frames
        self.quiet = APART

    cdef void _step(self, const float* activation, float* out) noexcept nogil:
        cdef Py_ssize_t label
        cdef float odds, highest = 0, doubt
        for label in range(self.labels):
            highest = max(highest, activation[label])
        odds = log_odds(highest)
        self.before *= self.keep
        if odds >= self.least:
            self.strongest = odds if self.quiet >= APART else max(self.strongest, odds)
            self.quiet = 0
        elif self.quiet < APART:
            self.quiet += 1
            if self.quiet == APART:  # the hit is over
                self.before = self._heard()
        doubt = expf(self.strength * max(0, PROVEN - self._evidence()))
        for label in range(self.labels):
            out[label] = activation[label] / (activation[label] + (1 - activation[label]) * doubt)

    cdef float _evidence(self) noexcept nogil:
        """Return what all hits have said, the present one so far."""
        return self._heard() if self.quiet < APART else self.before

    cdef float _heard(self) noexcept nogil:
        """Return the evidence with that of the present hit."""
        return max(REFUTED, min(self.most, self.before + self.strongest - self.neutral))
