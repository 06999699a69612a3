"""How far each hit stands out of what else sounds: whether anybody could have heard it.

A hat under a crash, a ghost note under a kick are in the notes and not in the air. To teach them is to teach
habits ("hats come with kicks") instead of sounds, and to count them against a detector is unfair.

Contents
--------
prominence
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from labelgen.chunks import DOUBTED
from labelgen.librosa_once import librosa

Audio = npt.NDArray[np.float32]
WINDOW_SECONDS = 0.023
BANDS = 24
FLOOR_DB = -60.0  # below the loudest band of the loudest moment nothing is heard


@lru_cache(maxsize=4)
def _bands(size: int, sample_rate: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return a window that weighs the beginning most, and the filters to bands of hearing."""
    fade = np.cos(np.linspace(0, np.pi / 2, size, endpoint=False)) ** 2
    filters = librosa().filters.mel(sr=sample_rate, n_fft=size, n_mels=BANDS, fmin=30, fmax=16000, norm=None)
    return fade.astype(np.float32), filters.astype(np.float32)


def prominence(tracks: Mapping[str, Audio], hits: Sequence[tuple[str, float]], sample_rate: int) -> list[float]:
    """Return, for each hit, how far it rises above the rest in the band where it does so most.

    Parameters
    ----------
    tracks : mapping from voice to float32 [samples]
        What each voice of the kit plays, as from `labelgen.kits.Kit.render`.
    hits : sequence of (str, float)
        Voice, and time in seconds.
    sample_rate : int

    Returns
    -------
    list of float
        dB of the hit's first 23 ms over the other voices then and its own voice just before; `DOUBTED` for a
        hit that does not sound.
    """
    size = int(WINDOW_SECONDS * sample_rate)
    fade, filters = _bands(size, sample_rate)
    padded = {voice: np.pad(track, (size, size)) for voice, track in tracks.items()}
    starts = [round(time * sample_rate) for _, time in hits]

    def power(voice: str, at: Sequence[int]) -> npt.NDArray[np.float32]:
        frames = np.stack([padded[voice][start : start + size] for start in at]) * fade
        return np.square(np.abs(np.fft.rfft(frames))).astype(np.float32) @ filters.T

    if not hits:
        return []
    after = {voice: power(voice, [start + size for start in starts]) for voice in padded}
    before = {voice: power(voice, starts) for voice in padded}
    total = np.sum(list(after.values()), axis=0)
    floor = total.max() * 10 ** (FLOOR_DB / 10) + 1e-12
    result = []
    for number, (voice, _) in enumerate(hits):
        if voice not in padded:
            result.append(DOUBTED)
            continue
        own, ringing = after[voice][number], before[voice][number]
        rise = np.maximum(own - ringing, 0)
        rest = total[number] - own + ringing + floor
        result.append(float(10 * np.log10(np.maximum((rise / rest).max(), 1e-9))))
    return result
