"""What a record does to drums and to a mix: rooms, drive, compression, tone.

Audio is mono float32. Every choice comes from the generator that is passed in.

Contents
--------
BALANCE_DB, drum_bus, backing_bus, mix, rms_db
"""

import numpy as np
import numpy.typing as npt
from pedalboard import (
    Clipping,
    Compressor,
    Distortion,
    HighShelfFilter,
    LowShelfFilter,
    PeakFilter,
    Pedalboard,
    Reverb,
)

Audio = npt.NDArray[np.float32]
BALANCE_DB = 3.0  # drums over backing


def rms_db(audio: Audio) -> float:
    """Return the level of the parts that sound (above a hundredth of the peak), in dB."""
    loud = audio[np.abs(audio) > 0.01 * np.abs(audio).max(initial=1e-9)]
    return float(10 * np.log10(np.mean(np.square(loud, dtype=np.float64)) + 1e-12)) if loud.size else -120.0


def _tone(rng: np.random.Generator, spread: float) -> list[object]:
    return [
        LowShelfFilter(float(rng.uniform(60, 250)), float(rng.normal(0, spread))),
        PeakFilter(float(rng.uniform(250, 4000)), float(rng.normal(0, spread)), float(rng.uniform(0.4, 1.5))),
        HighShelfFilter(float(rng.uniform(4000, 9000)), float(rng.normal(0, spread))),
    ]


def drum_bus(tracks: dict[str, Audio], sample_rate: int, rng: np.random.Generator) -> Audio:
    """Sum the voices of a kit as a drum bus: driven kick, room, compression, tone."""
    tracks = dict(tracks)
    if "kick" in tracks and rng.random() < 0.3:  # the distorted kicks of electronic music
        drive = Pedalboard([Distortion(float(rng.uniform(6, 32))), *_tone(rng, 4)])
        level = np.abs(tracks["kick"]).max()
        driven = drive(tracks["kick"], sample_rate)
        tracks["kick"] = driven * (level / max(1e-9, np.abs(driven).max()))
    for voice in ("snare", "clap", "tom"):
        if voice in tracks and rng.random() < 0.2:  # a plate or a large room on single drums
            room = Reverb(float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.1, 0.7)), float(rng.uniform(0.1, 0.5)), 0.9)
            tracks[voice] = np.asarray(room(tracks[voice], sample_rate), np.float32)
    bus = np.sum(list(tracks.values()), axis=0, dtype=np.float32)
    chain: list[object] = []
    if rng.random() < 0.6:
        wet = float(rng.uniform(0.02, 0.25) ** 1.2)
        chain.append(
            Reverb(
                room_size=float(rng.uniform(0.05, 0.7)),
                damping=float(rng.uniform(0.2, 0.9)),
                wet_level=wet,
                dry_level=1 - wet,
            )
        )
    if rng.random() < 0.5:
        peak = 20 * np.log10(np.abs(bus).max(initial=1e-6))
        chain.append(
            Compressor(
                float(peak - rng.uniform(6, 20)),
                float(rng.uniform(2, 6)),
                float(rng.uniform(1, 30)),
                float(rng.uniform(50, 250)),
            )
        )
    chain += _tone(rng, 2.5)
    if rng.random() < 0.15:
        chain.append(Distortion(float(rng.uniform(3, 15))))
    return np.asarray(Pedalboard(chain)(bus, sample_rate), np.float32)


def backing_bus(audio: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
    """Process an accompaniment: tone, sometimes drive or a room."""
    chain = _tone(rng, 3)
    if rng.random() < 0.2:
        chain.append(Distortion(float(rng.uniform(3, 18))))
    if rng.random() < 0.4:
        wet = float(rng.uniform(0.05, 0.3))
        chain.append(Reverb(room_size=float(rng.uniform(0.1, 0.9)), wet_level=wet, dry_level=1 - wet))
    return np.asarray(Pedalboard(chain)(audio, sample_rate), np.float32)


def mix(
    drums: Audio, backing: Audio, sample_rate: int, rng: np.random.Generator, balance_db: float = BALANCE_DB
) -> tuple[Audio, float]:
    """Mix at a random balance, `balance_db` in the mean, and master it; return the mix and drums-to-backing in dB."""
    balance = float(np.clip(rng.normal(balance_db, 5), balance_db - 11, balance_db + 12))
    if np.abs(backing).max(initial=0) > 1e-4:
        backing = backing * np.float32(10 ** ((rms_db(drums) - balance - rms_db(backing)) / 20))
    both = drums + backing
    both = both / max(1e-6, float(np.abs(both).max(initial=0)))
    chain: list[object] = []
    if rng.random() < 0.6:  # a loud master: compressed, then clipped at full scale
        gain = 10 ** (rng.uniform(0, 8) / 20)
        both = both * np.float32(gain)
        chain += [Compressor(-8.0, float(rng.uniform(1.5, 3)), 10.0, 120.0), Clipping(-0.5)]
        both = np.asarray(Pedalboard(chain)(both, sample_rate), np.float32)
    level = 10 ** (rng.uniform(-18, 0) / 20)
    return np.clip(both * np.float32(level), -1, 1).astype(np.float32), balance
