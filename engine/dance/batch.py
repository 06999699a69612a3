"""The same work on many things, several at once, each in a process of its own.

Ctrl-C ends all of it at once and leaves no process behind; a process that dies costs what it worked on.

Contents
--------
each, cores, Report
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from . import interrupts
from .errors import SourceError
from .parent import follow

Item = TypeVar("Item")
Result = TypeVar("Result")
Report = Callable[[float], None]
"""What the work calls now and then with the share that is done, 0..1; raises when everything has to end."""

_SHOW_SECONDS = 1 / 25

_reports: list[Callable[[int, float], None]] = []
"""How a working process reports its progress. What is shared can only be handed over at its start."""


def each(
    work: Callable[[Item, Report], Result],
    items: Sequence[Item],
    jobs: int,
    show: Callable[[Item, float], None],
) -> Iterator[tuple[Item, Result | SourceError]]:
    """Yield each item with the result of the work on it, as soon as it is done.

    Parameters
    ----------
    work : callable
        With one job it is called here; with more it is pickled, and so are items and results. A `SourceError` is a
        result like others; anything else that it raises ends everything and is raised here.
    items : sequence
    jobs : int
        Processes at once.
    show : callable
        Called often with the item begun last and how many are done.
    """
    jobs = min(jobs, len(items))
    if jobs > 1:
        yield from _in_processes(work, items, jobs, show)
        return
    for number, item in enumerate(items):

        def report(share: float, number: int = number, item: Item = item) -> None:
            show(item, number + share)

        yield item, _attempt(work, item, report)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    work: Callable[[Item, Report], Result],
    items: Sequence[Item],
    jobs: int,
    show: Callable[[Item, float], None],
) -> Iterator[tuple[Item, Result | SourceError]]:
    left = list(range(len(items)))

    def display(shares: Sequence[float]) -> None:
        begun = max((number for number in left if shares[number]), default=left[0])
        show(items[begun], len(items) - len(left) + sum(shares[number] for number in left))

    while left:
        try:
            for number, result in _pool(work, items, left, jobs, display):
                left.remove(number)
                yield items[number], result
        except BrokenProcessPool:  # one of those that had begun died, nobody knows which, and all others were ended
            for number in left[: jobs + 1]:
                outcome: Result | SourceError
                try:
                    ((_, outcome),) = _pool(work, items, [number], 1, display)
                except BrokenProcessPool:
                    outcome = SourceError(f"{items[number]}: the process working on it died; is there enough memory?")
                left.remove(number)
                yield items[number], outcome


def _pool(
    work: Callable[[Item, Report], Result],
    items: Sequence[Item],
    numbers: Sequence[int],
    jobs: int,
    display: Callable[[Sequence[float]], None],
) -> Iterator[tuple[int, Result | SourceError]]:
    context = get_context("spawn")  # a forked child of a process with threads may find their locks taken
    shares, stop = context.Array("d", len(items), lock=False), context.Event()
    pool = ProcessPoolExecutor(jobs, context, _begin, (shares, stop))
    try:
        with interrupts.held():
            doing: dict[Future[Result | SourceError], int] = {
                pool.submit(_work, work, items[number], number): number for number in numbers
            }
        while doing:
            for future in wait(doing, _SHOW_SECONDS, FIRST_COMPLETED).done:
                yield doing.pop(future), future.result()
            if doing:
                display(shares)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(shares: Any, stop: Any) -> None:
    """Prepare a working process."""

    def report(number: int, share: float) -> None:
        shares[number] = share
        if stop.is_set():
            raise SystemExit("told to stop")

    follow()
    _reports[:] = [report]


def _work(work: Callable[[Item, Report], Result], item: Item, number: int) -> Result | SourceError:
    """Do one item in a working process."""
    (report,) = _reports
    return _attempt(work, item, lambda share: report(number, share))


def _attempt(work: Callable[[Item, Report], Result], item: Item, report: Report) -> Result | SourceError:
    try:
        return work(item, report)
    except SourceError as error:
        return error
