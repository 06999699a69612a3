"""Labelled chunks from songs as they are: separated, cut at the onsets of the drums, each shred named by a net.

demucs splits a song into its parts (`labelgen.separate`), librosa finds the onsets of the drum part, the
part is cut there into shreds, and a classifier says what each one is: kick, snare, hi-hat, tom, cymbal,
several at once or nothing (`labelgen.shreds`), together with the released detector
(`labelgen.second_opinion`); velocity is the shred's loudness. Chunks are of the original song. Inputs that
hold drums alone need no separation (``--drums-only``).

A chunk's confidence is the F-measure to expect of its labels if the classifier's probabilities are right.
Long recordings are separated in stretches of five minutes, so memory does not grow with their length.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dance.commands.arguments import positive
from labelgen.chunks import Chunk, ChunkWriter, Label, chunk_name
from labelgen.files import MUSIC, missing, regular_file
from labelgen.recordings import LARGEST, LAST, RATE, SHORTEST, Song, find_songs, spans, stretches
from labelgen.separate import SeparationError, Separator
from labelgen.shreds import RELEASED, RISE_DB, ShredClassifier, find_shreds, velocities
from labelgen.work import add_work_options, part_seconds, run_command

F32 = npt.NDArray[np.float32]

FAINT_DB = -35.0
"""A drum stem this far below the mix is separation residue: the song has no drums."""


@dataclass(frozen=True)
class Options:
    """What a worker needs to know.

    Attributes
    ----------
    stems : tuple of str
        Parts kept beside the mix: those of the separator, and ``backing``, the mix without its drums.
    """

    out: Path
    classifier: Path
    model: str
    repo: Path | None
    device: str
    drums_only: bool
    stems: tuple[str, ...]
    seconds: float
    longest: float
    rise_db: float
    licence: str


@dataclass(frozen=True)
class Heard:
    """What was heard in a stretch.

    Attributes
    ----------
    labels : list of Label
        Seconds from the start of the stretch.
    times : float64 [n]
        Of all shreds.
    probabilities : float32 [n, labels]
    given : bool [n, labels]
    """

    labels: list[Label]
    times: npt.NDArray[np.float64]
    probabilities: F32
    given: npt.NDArray[np.bool_]

    def confidence(self, start: float, stop: float) -> float:
        """Return the F-measure to expect between two moments, if the probabilities are right.

        One hit is taken as found for sure, so that silence, rightly unlabelled, has a value.
        """
        rows = slice(*np.searchsorted(self.times, (start, stop)))
        p, given = self.probabilities[rows], self.given[rows]
        return float((1 + p[given].sum()) / (1 + (given.sum() + p.sum()) / 2))


def hear(drums: F32, mix: F32, classifier: ShredClassifier, rise_db: float = RISE_DB) -> Heard:
    """Label a track of drums.

    Parameters
    ----------
    drums, mix : float32 [n]
        At `RATE`. Drums that are `FAINT_DB` below the mix are none.
    """
    spec = classifier.spec
    if level_db(drums) < level_db(mix) + FAINT_DB:
        none = np.zeros((0, len(spec.labels)))
        return Heard([], np.zeros(0), none.astype(np.float32), none.astype(bool))
    shreds = find_shreds(drums, spec, rise_db)
    probabilities = classifier.probabilities(shreds, drums)
    given = classifier.labels(probabilities)
    velocity = velocities(shreds, given, spec)
    labels = [
        Label(float(shreds.times[row]), spec.labels[column], float(velocity[row, column]))
        for row, column in zip(*np.nonzero(given), strict=True)
    ]
    return Heard(labels, shreds.times, probabilities, given)


def level_db(audio: F32) -> float:
    """Return the root of the mean square in dB."""
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-12))


class Labeller:
    """Labels songs; keeps the models loaded."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.classifier = ShredClassifier(options.classifier)
        self.separator = None if options.drums_only else load_separator(options)
        self.writer = ChunkWriter(options.out, RATE)

    def label(self, song: Song) -> list[Chunk]:
        """Write the chunks of one song; raise ValueError with the reason if there are none."""
        regular_file(song.path, LARGEST)
        chunks: list[Chunk] = []
        hits = 0
        for start, margin, audio in stretches(song.path, self.options.longest):
            mix, parts = self._parts(audio)
            heard = hear(parts["drums"], mix, self.classifier, self.options.rise_db)
            for first, last in spans(len(mix), margin, self.options.seconds):
                began, ended = first / RATE, last / RATE
                labels = [x._replace(time=x.time - began) for x in heard.labels if began <= x.time < ended - LAST]
                hits += len(labels)
                name = chunk_name(song.key, f"{len(chunks):03d}")
                stems = {stem: parts[stem][first:last] for stem in self.options.stems}
                self.writer.write(name, {"": mix[first:last], **stems}, labels)
                chunks.append(
                    Chunk(
                        name=name,
                        unit=song.key,
                        source=song.source,
                        song=song.key,
                        licence=self.options.licence,
                        method=f"audio, {'drums only' if self.options.drums_only else self.options.model}",
                        confidence=round(heard.confidence(began, ended), 3),
                        seconds=(last - first) / RATE,
                        stems=self.options.stems,
                        details={"start": round(start + (first - margin) / RATE, 3)},
                    )
                )
        if not chunks:
            raise ValueError(f"shorter than {SHORTEST:g} s")
        if not hits:
            for file in (f for chunk in chunks for f in self.options.out.glob(f"{chunk.name}.*")):
                file.unlink()
            raise ValueError("no drums heard")
        return chunks

    def _parts(self, audio: F32) -> tuple[F32, dict[str, F32]]:
        """Return the mix and its parts, mono, at a level that no file clips."""
        mix = audio.mean(axis=1)
        if self.separator is None:
            parts = {"drums": mix}
        else:
            parts = {name: part.mean(axis=1) for name, part in self.separator.separate(audio).items()}
            parts["backing"] = mix - parts["drums"]
        # the parts of a loud master may exceed full scale: all go down together, so they still add up
        peak = max(1.0, *(float(np.abs(part).max(initial=0)) for part in (mix, *parts.values())))
        return mix / np.float32(peak), {name: part / np.float32(peak) for name, part in parts.items()}


def load_separator(options: Options) -> Separator:
    """Load the separator that the options name."""
    separator = Separator(options.model, options.repo, options.device)
    if separator.sample_rate != RATE:
        raise SeparationError(f"model {options.model} works at {separator.sample_rate} Hz; {RATE} is needed")
    unknown = set(options.stems) - {*separator.sources, "backing"}
    if unknown:
        known = ", ".join((*separator.sources, "backing"))
        raise SeparationError(f"--stems: model {options.model} has no {', '.join(sorted(unknown))}; there are {known}")
    return separator


_labeller: Labeller | None = None  # one for each worker process: models load once


def _setup(options: Options) -> None:
    global _labeller
    import torch

    torch.set_num_threads(1)  # songs run side by side, one process each
    _labeller = Labeller(options)


def _label(song: Song) -> list[Chunk]:
    assert _labeller is not None
    return _labeller.label(song)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/audio.py ~/music --out data/chunks/music --stems\n"
        "  python labelgen/audio.py ~/music --model htdemucs_ft --device cuda --jobs 1\n"
        "  python labelgen/audio.py drum-recordings/ --drums-only --out data/chunks/drums\n",
    )
    add = result.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help="recordings, or folders of them at any depth")
    add("--out", type=Path, default=Path("data/chunks/audio"), help="folder of the set (default: %(default)s)")
    add("--drums-only", action="store_true", help="the inputs are recordings of drums alone: skip the separation")
    add("--model", default="htdemucs", metavar="NAME", help="demucs model (default: %(default)s)")
    add("--repo", type=Path, metavar="FOLDER", help="load the model from this folder instead of downloading it: "
        "NAME.yaml with *.safetensors, or *.th, which are pickles: use them only from people you trust")  # fmt: skip
    add("--device", default="cpu", help="where demucs runs, as cpu or cuda (default: %(default)s)")
    add("--stems", nargs="*", metavar="PART", help="keep parts beside the mix: drums, bass, vocals, other, "
        "or backing (the mix without drums); without PART: drums backing, which training remixes")  # fmt: skip
    add("--classifier", type=Path, default=RELEASED, metavar="ONNX",
        help="the shred classifier, made by training/train_shreds.py (default: the released one)")  # fmt: skip
    add("--rise", type=positive(float), default=RISE_DB, metavar="DB", help="rise above the local mean "
        "that counts as an onset; a larger value finds fewer (default: %(default)s)")  # fmt: skip
    add("--seconds", type=part_seconds, default=30.0,
        help="longest chunk (default: %(default)s)")  # fmt: skip
    add("--longest", type=positive(float), default=60.0, metavar="MINUTES",
        help="refuse longer recordings (default: %(default)s)")  # fmt: skip
    add("--licence", default="", help="terms of the recordings, kept with every chunk")
    add_work_options(result, limit=7200.0)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    stems = () if args.stems is None else tuple(dict.fromkeys(args.stems)) or ("drums", "backing")
    wrong = missing(args.inputs)
    if args.drums_only and stems:
        wrong = "with --drums-only there are no stems to keep"
    if wrong:
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    options = Options(
        args.out.absolute(),
        args.classifier.absolute(),
        args.model,
        args.repo.absolute() if args.repo else None,
        args.device,
        args.drums_only,
        stems,
        args.seconds,
        60 * args.longest,
        args.rise,
        args.licence,
    )
    total = sum(1 for _ in find_songs(args.inputs))
    if not total:
        print(f"labelgen: no recordings ({' '.join(MUSIC)}) in {args.inputs[0]}", file=sys.stderr)
        return 2
    try:
        Labeller(options)  # here first: a model is downloaded once, and what is wrong with it is said once
    except (SeparationError, OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    songs = find_songs(args.inputs)
    return run_command(args, _label, songs, _setup, (options,), total, inputs=args.inputs, by_file=True)


if __name__ == "__main__":
    sys.exit(main())
