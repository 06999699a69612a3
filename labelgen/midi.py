"""Labelled chunks from MIDI files: songs with drums on channel 10, rendered with many kits and soundfonts.

Accompaniment goes through FluidSynth; drums through kits of one-shots, or through the soundfont's own
kits. Labels are the notes, at the attacks of their sounds. With ``--drumless`` songs without drums become chunks
without labels. A unit of work is one song in one variant (``--variants``); the seed and the song's path decide all of
its choices.
"""

import argparse
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi

from dance.commands.arguments import chance, natural, positive
from dance.labels import GENERAL_MIDI, OTHER
from labelgen.acoustic_kit import make_acoustic
from labelgen.arrange import add_percussion, arrange
from labelgen.chunks import Chunk, ChunkWriter, Label, chunk_name
from labelgen.drum_machine import make_machine
from labelgen.effects import backing_bus, drum_bus, mix
from labelgen.files import find_files, missing
from labelgen.guitars import play
from labelgen.kits import Hit, KitLibrary, Maker, voice_of
from labelgen.material import Item, read_manifest
from labelgen.midi_files import check_tempo, performance, read_midi
from labelgen.pools import WorkError
from labelgen.prominence import prominence
from labelgen.recordings import LAST, RATE, SHORTEST
from labelgen.synth import Audio, SoundFont
from labelgen.work import add_work_options, chunk_seconds, run_command, sample_rate

MADE = 0.7  # of the songs that gain percussion have it made by rule, the others from one-shots if there are any
DRUM_PROGRAMS = frozenset((47, 113, 115, 116, 117, 118, 119, 127))
"""General MIDI's drums among its melodic instruments, from timpani to gunshot: no part of a song without drums."""
SUFFIXES = (".mid", ".midi", ".kar")


@dataclass(frozen=True)
class Options:
    """What a worker needs to know."""

    out: Path
    oneshots: tuple[Item, ...]
    soundfonts: tuple[Path, ...]
    sample_rate: int
    seconds: float
    chunks: int
    seed: int
    soundfont_drums: float
    arrange: bool
    stems: bool
    drumless: bool
    percussion: float
    machines: float
    acoustic: float


@dataclass(frozen=True)
class Song:
    """One MIDI file in one variant."""

    path: Path
    key: str
    variant: int
    source: str
    licence: str
    split: str


class Renderer:
    """Renders songs; keeps soundfonts and one-shots loaded."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.kits = KitLibrary(options.oneshots, options.sample_rate) if options.oneshots else None
        self._fonts: dict[Path, SoundFont] = {}
        self.writer = ChunkWriter(options.out, options.sample_rate)

    def font(self, rng: np.random.Generator, melodic: bool) -> SoundFont:
        """Draw a soundfont; `melodic` asks for one that has more than drums."""
        paths = list(self.options.soundfonts)
        for index in rng.permutation(len(paths)):
            path = paths[index]
            if path not in self._fonts:
                try:
                    self._fonts[path] = SoundFont(path, self.options.sample_rate)
                except ValueError as error:  # no song's fault
                    raise WorkError(f"{error}; take it out of --soundfonts, or fetch it again") from None
            font = self._fonts[path]
            if font.melodic if melodic else font.drum_presets:
                return font
        raise ValueError("no soundfont has the instruments that the song needs")

    def _maker(self, rng: np.random.Generator) -> Maker | None:
        """Draw what makes most of a kit by rule, if anything does."""
        options = self.options
        if options.machines and rng.random() < options.machines:
            return make_machine
        if options.acoustic and rng.random() < options.acoustic:
            return make_acoustic
        return None

    def render(self, song: Song) -> list[Chunk]:
        """Render one song to chunks; ValueError says why one gives none."""
        options = self.options
        rng = np.random.default_rng([options.seed, zlib.crc32(song.key.encode(errors="surrogateescape")), song.variant])
        midi = read_midi(song.path)
        # drums on other channels than theirs would be heard and not labelled
        others = [i for i in midi.instruments if not i.is_drum and i.notes and i.program not in DRUM_PROGRAMS]
        hits = performance(midi)
        if not hits and options.drumless:
            return self._render_drumless(song, others, rng)
        if not hits:
            raise ValueError("no drums on channel 10 (--drumless renders such songs as music without drums)")
        check_tempo(hits, midi.get_end_time())
        hits, changes = arrange(hits, rng) if options.arrange else (hits, [])
        made = False
        if options.percussion and rng.random() < options.percussion:
            hits, added = add_percussion(hits, rng)
            changes = changes + added
            made = bool(rng.random() < MADE)
        end = max(hit.time for hit in hits) + 0.8
        starts = self._starts(hits[0].time, end, rng)
        kit = preset = None
        if self.kits and rng.random() >= options.soundfont_drums:
            kit = self.kits.draw(rng, made_percussion=made, made_by=self._maker(rng))
        drum_font = None if kit else self.font(rng, melodic=False)
        if drum_font:
            preset = drum_font.drum_presets[int(rng.integers(len(drum_font.drum_presets)))]
        backing_font = self.font(rng, melodic=True) if others else None
        name = chunk_name(song.key, song.variant)
        chunks = []
        for number, start in enumerate(starts):
            seconds = min(options.seconds, end - start)
            inside = [h._replace(time=h.time - start) for h in hits if 0 <= h.time - start < seconds - LAST]
            if kit:
                inside = [h for h in inside if kit.plays(h.note)]
                tracks = kit.render(inside, seconds, rng)
                heard = prominence(tracks, voiced(inside), options.sample_rate)
            else:
                assert drum_font is not None and preset is not None
                times = [drum_font.heard_at(h, preset) for h in inside]
                struck = [(h, t) for h, t in zip(inside, times, strict=True) if t is not None and t < seconds - LAST]
                played, inside = [h for h, _ in struck], [h._replace(time=t) for h, t in struck]
                tracks = {"all": drum_font.render([as_instrument(played)], 0.0, seconds, preset)}
                apart = by_voice(drum_font, played, seconds, preset)
                heard = prominence(apart, voiced(inside), options.sample_rate)
            if not inside:
                continue
            drums = drum_bus(tracks, options.sample_rate, rng)
            peak = float(np.abs(drums).max(initial=0))
            if peak < 1e-4:
                raise ValueError("the drums are silent with this kit")
            drums = drums / np.float32(peak)
            backing = np.zeros_like(drums)
            if backing_font:
                dry = backing_font.render(others, start, seconds)[: len(drums)]
                backing[: len(dry)] = dry
                backing = backing_bus(backing, options.sample_rate, rng)
                backing /= np.float32(max(1e-6, np.abs(backing).max()))
            both, balance = mix(drums, backing, options.sample_rate, rng)
            audio = {"": both}
            if options.stems:
                audio |= {"drums": drums} | ({"backing": backing} if backing_font else {})
            labels = [
                Label(h.time, GENERAL_MIDI.get(h.note, OTHER), h.velocity, level)
                for h, level in zip(inside, heard, strict=True)
            ]
            self.writer.write(f"{name}-{number:02d}", audio, labels)
            chunks.append(
                Chunk(
                    name=f"{name}-{number:02d}",
                    unit=unit_of(song),
                    source=song.source,
                    song=song.key,
                    licence="; ".join(sorted({song.licence, *(kit.licences if kit else ())} - {""})),
                    method="midi",
                    confidence=1.0,
                    seconds=len(both) / options.sample_rate,
                    stems=tuple(k for k in audio if k),
                    seed=options.seed,
                    split=song.split,
                    details={
                        "start": round(start, 3),
                        "arrangement": changes,
                        "soundfonts": [f.path.name for f in (drum_font, backing_font) if f],
                        "drum_preset": preset,
                        "kit": {k: v for k, v in kit.sources.items() if "/" not in k} if kit else None,
                        "sounds": sorted(set(kit.sources.values())) if kit else [],
                        "balance_db": round(balance, 2) if backing_font else None,
                    },
                )
            )
        return chunks

    def _render_drumless(
        self, song: Song, parts: Sequence[pretty_midi.Instrument], rng: np.random.Generator
    ) -> list[Chunk]:
        """Render a song without drums: all backing, no labels, which says that nothing is hit."""
        options = self.options
        notes = sorted((note for part in parts for note in part.notes), key=lambda note: note.start)
        if not notes:
            raise ValueError("no notes but those of drums and other percussion")
        end = max(note.end for note in notes)
        check_tempo([], end)
        font = self.font(rng, melodic=True)
        name = chunk_name(song.key, song.variant)
        chunks = []
        for number, start in enumerate(self._starts(notes[0].start, end + 0.5, rng)):
            seconds = min(options.seconds, end + 0.5 - start)
            audio = backing_bus(play(font, parts, start, seconds, rng), options.sample_rate, rng)
            chunks += self.writer.write_drumless(
                f"{name}-{number:02d}",
                audio,
                unit=unit_of(song),
                source=song.source,
                song=song.key,
                licence=song.licence,
                method="midi",
                seed=options.seed,
                split=song.split,
                details={
                    "start": round(start, 3),
                    "soundfonts": [font.path.name],
                    "programs": sorted({int(part.program) for part in parts}),
                },
            )
        return chunks

    def _starts(self, time: float, end: float, rng: np.random.Generator) -> list[float]:
        """Choose up to `chunks` stretches of the song between its first hit or note at `time` and `end`."""
        first = max(0.0, time - 0.3)
        if end - first < SHORTEST:
            raise ValueError("shorter than a second")
        starts = list(np.arange(first, max(first + 0.1, end - SHORTEST), self.options.seconds))
        if len(starts) > self.options.chunks:
            keep = sorted(rng.choice(len(starts), self.options.chunks, replace=False))
            starts = [starts[i] for i in keep]
        return [float(start) for start in starts]


def as_instrument(hits: Iterable[Hit]) -> pretty_midi.Instrument:
    """Return hits as a drum track, for a soundfont to play."""
    track = pretty_midi.Instrument(0, is_drum=True)
    track.notes = [pretty_midi.Note(max(1, round(h.velocity * 127)), h.note, h.time, h.time + 0.1) for h in hits]
    return track


def voiced(hits: Iterable[Hit]) -> list[tuple[str, float]]:
    """Return voice and time of hits, as `labelgen.prominence` takes them."""
    return [(voice_of(hit.note), hit.time) for hit in hits]


def by_voice(font: SoundFont, hits: Sequence[Hit], seconds: float, preset: tuple[int, int]) -> dict[str, Audio]:
    """Return what each voice of a soundfont's kit plays alone; there no hat chokes another."""
    voices = sorted({voice_of(hit.note) for hit in hits})
    return {
        voice: font.render([as_instrument(h for h in hits if voice_of(h.note) == voice)], 0.0, seconds, preset)
        for voice in voices
    }


def unit_of(song: Song) -> str:
    """Return the stable name of a unit of work."""
    return f"{song.key}#{song.variant}"


def find_songs(
    inputs: Sequence[Path], items: Iterable[Item], split: str | None, variants: int
) -> Iterator[tuple[str, Song]]:
    """Yield the MIDI files of `inputs` (files or folders) as units, those of another split left out."""
    known = {os.path.realpath(item.path): item for item in items}
    sources = [(Path(os.path.abspath(root)), root.resolve().name) for root in inputs]  # noqa: PTH100 (links stay links)
    for key, path in find_files(inputs, SUFFIXES):
        item = known.get(os.path.realpath(path))
        if item and split and item.split != split:
            continue
        source = item.source if item else next(name for root, name in sources if path.is_relative_to(root))
        for variant in range(variants):
            song = Song(path, key, variant, source, item.licence if item else "", item.split if item else "")
            yield unit_of(song), song


def find_soundfonts(folder: Path) -> tuple[Path, ...]:
    """List the SF2 and SF3 files of a folder, links to the same file once; what is none is named and left out."""
    fonts = set()
    for _, path in find_files([folder], (".sf2", ".sf3")):
        try:
            with path.open("rb") as file:
                good = file.read(12)[8:] == b"sfbk"
        except OSError:
            good = False
        if good:
            fonts.add(path.resolve())
        else:
            print(f"labelgen: left out, not a soundfont: {path}", file=sys.stderr)
    return tuple(sorted(fonts))


_renderer: Renderer | None = None  # one for each worker process: soundfonts load once


def _setup(options: Options) -> None:
    global _renderer
    _renderer = Renderer(options)


def _render(song: Song) -> list[Chunk]:
    assert _renderer is not None
    return _renderer.render(song)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python labelgen/midi.py ~/lakh/clean_midi --out data/chunks/lakh --stems\n"
        "  python labelgen/midi.py songs/ --oneshots packs/manifest.csv --split train --stems\n"
        "  python labelgen/midi.py data/midi/solos --drumless --stems --out data/chunks/solos\n",
    )
    add = result.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help="MIDI files, or folders of them at any depth")
    add("--out", type=Path, default=Path("data/chunks/midi"), help="folder of the set (default: %(default)s)")
    add("--soundfonts", type=Path, default=Path("soundfonts"), help="folder with SF2/SF3 files (default: %(default)s)")
    add("--oneshots", type=Path, metavar="CSV", help="manifest of one-shots to draw drum kits from")
    add("--split", help="use only one-shots, and MIDI files named in the manifest, of this split")
    add("--soundfont-drums", type=chance, default=0.15, metavar="P", help="share of songs whose drums come "
        "from the soundfont even if one-shots are given (default: %(default)s)")  # fmt: skip
    add("--as-played", action="store_true", help="keep the drummer's arrangement; otherwise some songs lose their "
        "hats, get a kick under the snare and so on (labelgen/arrange.py)")  # fmt: skip
    add("--drumless", action="store_true", help="also render songs without drums, as chunks without labels, with pick "
        "noise and driven amplifiers (labelgen/solos.py makes such songs)")  # fmt: skip
    add("--percussion", type=chance, default=0.0, metavar="P", help="share of songs to which side-sticks, shakers or "
        "tambourines are added, which must not be reported; some are made by rule (default: %(default)s)")  # fmt: skip
    add("--machines", type=chance, default=0.0, metavar="P", help="share of kits that are synthetic drum machines, "
        "made by rule (default: %(default)s)")  # fmt: skip
    add("--acoustic", type=chance, default=0.0, metavar="P", help="share of the other kits that are synthetic "
        "acoustic kits, made by rule (default: %(default)s)")  # fmt: skip
    add("--variants", type=positive(int), default=1, help="renderings of each song (default: %(default)s)")
    add("--seconds", type=chunk_seconds, default=30.0, help="longest chunk (default: %(default)s)")
    add("--chunks", type=positive(int), default=4, help="most chunks per song and variant (default: %(default)s)")
    add("--stems", action="store_true", help="keep drums and backing beside the mix, for remixing in training")
    add("--sample-rate", type=sample_rate, default=RATE, help="hertz (default: %(default)s)")
    add("--seed", type=natural, default=0, help="decides every random choice (default: %(default)s)")
    add_work_options(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        items = read_manifest(args.oneshots) if args.oneshots else []
        wanted = (item for item in items if args.split in (None, item.split))
        shots = tuple(item for item in wanted if item.path.suffix != ".mid" and not item.cls.startswith("midi"))
        if args.oneshots and not shots:
            raise ValueError(f"{args.oneshots} names no one-shots of the split {args.split!r}")
        if gone := [shot.path for shot in shots if not shot.path.is_file()]:
            raise ValueError(f"{args.oneshots}: {len(gone)} of {len(shots)} one-shots are missing, such as {gone[0]}")
    except (OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    fonts = find_soundfonts(args.soundfonts) if args.soundfonts.is_dir() else ()
    if not fonts:
        print(
            f"labelgen: no soundfont in {args.soundfonts}; name a folder with --soundfonts, on Debian for "
            "example /usr/share/sounds after `apt-get install fluid-soundfont-gm`",
            file=sys.stderr,
        )
        return 2
    if wrong := missing(args.inputs):
        print(f"labelgen: {wrong}", file=sys.stderr)
        return 2
    total = sum(1 for _ in find_songs(args.inputs, items, args.split, args.variants))
    if not total:
        print(f"labelgen: no MIDI files ({' '.join(SUFFIXES)}) in {args.inputs[0]}", file=sys.stderr)
        return 2
    options = Options(
        args.out.absolute(),
        shots,
        fonts,
        args.sample_rate,
        args.seconds,
        args.chunks,
        args.seed,
        args.soundfont_drums,
        not args.as_played,
        args.stems,
        args.drumless,
        args.percussion,
        args.machines,
        args.acoustic,
    )
    songs = find_songs(args.inputs, items, args.split, args.variants)
    return run_command(args, _render, songs, _setup, (options,), total, inputs=args.inputs, by_file=True)


if __name__ == "__main__":
    sys.exit(main())
