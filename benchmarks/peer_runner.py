"""Runs one detector over one recording, as `peers.py` asks it to, in the environment that the detector needs.

Needs nothing but NumPy and the detector itself. The recording is a NumPy file, float32, mono; the answer is one line
of JSON: events as [time, reported, label], CPU seconds of the detection alone, and the process's peak memory in MB.
``time`` is the hit's own, ``reported`` that of the last sample that had to be heard (null: the whole recording).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Hit = tuple[float, float | None, str]
Detection = Iterator[Hit | None]

PERIOD = 256
"""Samples that a device gives at once."""

BUFFER_SECONDS, STEP_SECONDS = 4, 0.1
"""Of rolling-buffer use: what is looked at again and again, and how often."""


def dance(samples: np.ndarray, rate: int) -> Detection:
    """Run ours, with the model that ``DANCE_MODEL`` names or the released one."""
    from dance import Detector

    detector = Detector.load(os.environ.get("DANCE_MODEL"), sample_rate=rate)
    yield None
    for start in range(0, len(samples), PERIOD):
        for event in detector.process(samples[start : start + PERIOD]):
            yield event.time, min(start + PERIOD, len(samples)) / rate, event.label
    for event in detector.flush():
        yield event.time, len(samples) / rate, event.label


def band_energy(samples: np.ndarray, rate: int) -> Detection:
    """Run what visualizers usually do: a band's energy against its mean over the last second.

    After Patin, "Beat detection algorithms" (2003), with three bands for three drums and a pause of 100 ms.
    """
    size, hop, history = 1024, 512, round(rate / 512)
    bands = {"kick": (40, 120), "snare": (150, 2500), "hihat": (6000, 16000)}
    edges = {label: (round(low * size / rate), round(high * size / rate)) for label, (low, high) in bands.items()}
    window = np.hanning(size).astype(np.float32)
    past = np.zeros((len(bands), history))
    last = dict.fromkeys(bands, -1.0)
    yield None
    for number, end in enumerate(range(size, len(samples) + 1, hop)):
        power = np.abs(np.fft.rfft(samples[end - size : end] * window)) ** 2
        for row, (label, (low, high)) in enumerate(edges.items()):
            energy, mean = power[low : high + 1].mean(), past[row].mean()
            past[row, number % history] = energy
            if energy > 1.4 * mean and energy > 1e-4 and end / rate - last[label] >= 0.1:
                last[label] = end / rate
                yield (end - hop) / rate, end / rate, label


def aubio(samples: np.ndarray, rate: int) -> Detection:
    """Run aubio's onset detector with the settings of its own command."""
    import aubio as library

    onset = library.onset("default", 512, 256, rate)
    yield None
    for start in range(0, len(samples) - 255, 256):
        if onset(samples[start : start + 256])[0]:
            yield onset.get_last() / rate, (start + 256) / rate, ""


def librosa(samples: np.ndarray, rate: int) -> Detection:
    """Run librosa's onset detector, which wants the whole recording."""
    import librosa as library

    library.onset.onset_detect(y=samples[: 2 * rate], sr=rate)  # compiles
    yield None
    for onset in library.onset.onset_detect(y=samples, sr=rate, units="time"):
        yield float(onset), None, ""


def librosa_rolling(samples: np.ndarray, rate: int) -> Detection:
    """Run librosa's onset detector live, as detectors of whole recordings are: again and again on the last seconds."""
    import librosa as library

    library.onset.onset_detect(y=samples[: 2 * rate], sr=rate)  # compiles
    length, step, pause = BUFFER_SECONDS * rate, round(STEP_SECONDS * rate), 0.03
    last = -pause
    yield None
    for end in range(step, len(samples) + 1, step):
        start = max(end - length, 0)
        for onset in library.onset.onset_detect(y=samples[start:end], sr=rate, units="time"):
            moment = start / rate + float(onset)
            if moment - last >= pause:
                last = moment
                yield moment, end / rate, ""


def madmom(samples: np.ndarray, rate: int) -> Detection:
    """Run madmom's online onset detector with the settings of its own command, frame by frame."""
    _old_names()
    from madmom.audio.signal import FramedSignal, Signal
    from madmom.features.onsets import OnsetPeakPickingProcessor, RNNOnsetProcessor

    settings = {"fps": 100, "pre_max": 0.01, "post_max": 0, "post_avg": 0, "threshold": 0.23}
    network = RNNOnsetProcessor(online=True, origin="stream", num_frames=1)
    picker = OnsetPeakPickingProcessor(online=True, **settings)
    signal = Signal((32767 * np.clip(samples, -1, 1)).astype(np.int16), sample_rate=rate, num_channels=1)
    frames = FramedSignal(signal, frame_size=4096, hop_size=rate // 100, origin="online", num_frames=None)
    yield None
    for number, frame in enumerate(frames):
        activation = network(frame, reset=False)
        for onset in np.ravel(picker(np.ravel(activation), reset=False)):
            yield float(onset), (number + 1) / 100, ""


def beatnet(samples: np.ndarray, rate: int) -> Detection:
    """Run BeatNet chunk by chunk: beats, not hits."""
    _old_names()
    import librosa as library
    from BeatNet.BeatNet import BeatNet

    tracker = BeatNet(1, mode="realtime", inference_model="PF", plot=[], thread=False)
    audio = library.resample(samples, orig_sr=rate, target_sr=tracker.sample_rate)
    tracker.counter = tracker.completed = known = 0
    yield None
    while not tracker.completed:
        tracker.activation_extractor_realtime(audio)
        beats = tracker.estimator.process(tracker.pred)
        heard = tracker.log_spec_hop_length * tracker.counter + tracker.log_spec_win_length
        for beat in beats[known:]:
            yield float(beat[0]), heard / tracker.sample_rate, ""
        known = len(beats)
        tracker.counter += 1


def _old_names() -> None:
    """Give back what madmom 0.16 expects of a Python before 3.10."""
    import collections
    import collections.abc

    for name in ("MutableSequence", "Mapping", "Iterable"):
        setattr(collections, name, getattr(collections.abc, name))


PEERS: dict[str, Callable[[np.ndarray, int], Detection]] = {
    function.__name__: function for function in (dance, band_energy, aubio, librosa, librosa_rolling, madmom, beatnet)
}


def run(name: str, samples: np.ndarray, rate: int) -> dict[str, Any]:
    """Return what the detector said and what it cost."""
    detection = PEERS[name](samples, rate)
    next(detection)
    start = time.process_time()
    hits = list(detection)
    seconds = time.process_time() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"hits": hits, "cpu": seconds, "memory": int(peak.split()[1]) / 1024}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/peer_runner.py band_energy song.npy --rate 44100",
    )
    add = result.add_argument
    add("detector", choices=PEERS, help="which")
    add("audio", type=Path, help="the samples, written by numpy.save")
    add("--rate", type=int, default=44100, help="their rate (default: %(default)s)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        samples = np.load(args.audio)
    except (OSError, EOFError, ValueError) as error:
        print(f"peer_runner: {args.audio}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    try:
        print(json.dumps(run(args.detector, samples, args.rate)))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
