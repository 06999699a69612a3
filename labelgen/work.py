"""Many independent units of work: in parallel here or on a cluster, with a bar, resumable; a bad unit costs a line.

A script calls `add_work_options` on its parser and returns what `run_command` returns. Jobs may come
from a generator: they are drawn as they are needed, so memory does not grow with their number.

Contents
--------
add_work_options, run_command, run_units, sample_rate, chunk_seconds, part_seconds
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dance.commands.arguments import positive, within
from labelgen.chunks import BusyError, Chunk, Manifest, among, digest, of_source, remove_refused, remove_stale
from labelgen.files import identity, keyed_otherwise, missing, printable
from labelgen.pools import Cluster, Pool, Processes, WorkError
from labelgen.recordings import SHORTEST, STRETCH

Job = TypeVar("Job")


sample_rate = within(int, 8000, 192_000)  # that FLAC files may have
chunk_seconds = within(float, SHORTEST, unit="seconds")
part_seconds = within(float, SHORTEST, STRETCH, unit="seconds")  # of chunks that are parts of stretches


def add_work_options(parser: argparse.ArgumentParser, limit: float = 600.0) -> None:
    """Add the options that all sources of labels share: ``--jobs --scheduler --limit --retry``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    limit : float
        Default of ``--limit``, seconds for one unit; 0 for none.
    """
    group = parser.add_argument_group("work")
    add = group.add_argument
    add("--jobs", type=positive(int), default=len(os.sched_getaffinity(0)), metavar="N",
        help="processes on this machine (default: its cores, %(default)s here)")  # fmt: skip
    add("--scheduler", metavar="ADDRESS", help="work on a Dask cluster instead, for example tcp://host:8786; "
        "its workers (`dask worker ADDRESS --nworkers N --nthreads 1`) need the same files and paths")  # fmt: skip
    add("--limit", type=within(float, 0, threading.TIMEOUT_MAX, unit="seconds"), default=limit, metavar="SECONDS",
        help="give up on a file after this long; 0: never (default: %(default)g)")  # fmt: skip
    add("--retry", action="store_true", help="try the files again that an earlier run refused")


def run_command(
    args: argparse.Namespace,
    make: Callable[[Job], list[Chunk]],
    jobs: Iterable[tuple[str, Job]],
    setup: Callable[..., None] | None = None,
    setup_args: Iterable[object] = (),
    total: int | None = None,
    *,
    inputs: Sequence[Path],
    by_file: bool = False,
) -> int:
    """Run `make` over `jobs` as the command line says, and return the exit code.

    Parameters
    ----------
    args : argparse.Namespace
        With ``out`` and what `add_work_options` adds.
    make, jobs, setup, setup_args, total, inputs, by_file
        As for `run_units`.

    Returns
    -------
    int
        0, refused units or not; 2 where the work cannot go on; 130 after Ctrl-C.
    """
    try:
        run_units(
            make,
            jobs,
            args.out,
            args.jobs,
            setup,
            setup_args,
            args.scheduler,
            total=total,
            limit=args.limit or None,
            retry=args.retry,
            inputs=inputs,
            by_file=by_file,
        )
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (WorkError, BusyError, OSError, ValueError) as error:
        print(f"labelgen: {error}", file=sys.stderr)
        return 2
    return 0


def run_units(
    make: Callable[[Job], list[Chunk]],
    jobs: Iterable[tuple[str, Job]],
    out: Path,
    workers: int,
    setup: Callable[..., None] | None = None,
    setup_args: Iterable[object] = (),
    scheduler: str | None = None,
    *,
    total: int | None = None,
    limit: float | None = None,
    retry: bool = False,
    inputs: Sequence[Path] = (),
    by_file: bool = False,
) -> int:
    """Run `make` over `jobs` that the manifest of `out` does not name yet.

    Parameters
    ----------
    make : callable
        From a job to its finished chunks; raises, or returns none, where there is nothing to get.
    jobs : iterable of (unit, job)
        Unit names are unique and stable between runs.
    out : Path
        The set of chunks.
    workers : int
        Processes on this machine.
    setup, setup_args
        Called once in each process.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers do the work instead.
    total : int, optional
        Number of jobs, for the bar, where `jobs` cannot tell.
    limit : float, optional
        Seconds after which a unit is given up.
    retry : bool
        Whether to try again what was refused before.
    inputs : sequence of Path
        Files and folders that the jobs come from. What is refused when one of them is gone was not to blame.
    by_file : bool
        Whether songs have the keys of `labelgen.files.find_files`, which depend on `inputs`.

    Returns
    -------
    int
        Number of refused units.

    Raises
    ------
    BusyError
        If another run is writing to `out`.
    WorkError
        If the work cannot go on: the setup failed, the disk is full, the cluster or the library is gone.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(out)
    if total is None and isinstance(jobs, Sized):
        total = len(jobs)
    if wrong := missing(inputs):
        raise WorkError(wrong)
    songs = (row["song"] for row in manifest.rows() if by_file and "refused" not in row)
    if (song := next(songs, None)) is not None and keyed_otherwise(song, inputs):
        raise WorkError(f"{out} was begun with other inputs: its {printable(song)} would have another name with these; "
                        "give the same again, or choose another --out")  # fmt: skip
    roots = {root: identity(root) for root in (path if path.is_dir() else path.absolute().parent for path in inputs)}
    started = time.monotonic()
    drawn = made = units = before = refused_before = refused = others = 0
    example = ""
    with manifest.claim(), tqdm(total=total, unit="song", dynamic_ncols=True) as bar:
        remove_stale(out)
        done = manifest.digests(refused=not retry)
        good = done if retry else manifest.digests(refused=False)
        todo = iter(jobs)
        exhausted = False
        pool: Pool
        if scheduler:
            pool = Cluster(scheduler, make, setup, setup_args, limit)
        else:
            pool = Processes(make, setup, setup_args, workers, limit)
        try:
            pending = 0
            while True:
                while not exhausted and pending < pool.slots:
                    unit, job = next(todo, (None, None))
                    if unit is None:
                        exhausted = True
                        break
                    drawn += 1
                    if _among(done, unit):
                        before += 1
                        refused_before += not _among(good, unit)
                        if _from_elsewhere(done, unit, job):
                            others += 1
                            example = example or unit
                        if not bar.disable:
                            bar.initial += 1  # the bar's pace is that of this run
                        bar.update()
                    else:
                        pool.submit(unit, job)
                        pending += 1
                if not pending:
                    break
                unit, outcome = pool.next()
                pending -= 1
                if outcome.stop:
                    raise WorkError(outcome.stop)
                if outcome.chunks:
                    manifest.add(outcome.chunks)
                    made += len(outcome.chunks)
                    units += 1
                elif gone := [root for root, was in roots.items() if identity(root) != was]:
                    raise WorkError(f"{gone[0]} is gone; when it is back, the same command goes on from here")
                else:
                    refused += 1
                    manifest.refuse(unit, outcome.refused)
                    bar.write(f"refused {printable(unit)}: {printable(outcome.refused)}", file=sys.stderr)
                bar.set_postfix(chunks=made, refused=refused, refresh=False)
                bar.update()
        finally:
            pool.close()
            remove_stale(out)
            if refused:
                remove_refused(out, np.setdiff1d(manifest.digests(), manifest.digests(refused=False)))
    minutes = (time.monotonic() - started) / 60
    summary = f"{out}: {made} chunks of {units} songs in {minutes:.1f} minutes, {refused} refused"
    if before:
        summary += f", {before} done before"
    if refused_before:
        summary += f" ({refused_before} of these refused; --retry tries them again)"
    print(summary, file=sys.stderr)
    if others:
        print(f"labelgen: {others} of those done before came from another source, such as {printable(example)}; if "
              "these are other songs of the same name, choose another --out for them", file=sys.stderr)  # fmt: skip
    if total is not None and drawn < total:
        raise WorkError(f"{total - drawn} of {total} songs are gone; when they are back, the same command goes on")
    return refused


def _among(done: npt.NDArray[np.uint64], unit: str) -> bool:
    return among(done, digest(unit))


def _from_elsewhere(done: npt.NDArray[np.uint64], unit: str, job: object) -> bool:
    """Return whether what was done under the name of `unit` is known to have another source than `job`."""
    source = getattr(job, "source", "")
    return bool(source) and not any(_among(done, of_source(unit, known)) for known in (source, ""))
